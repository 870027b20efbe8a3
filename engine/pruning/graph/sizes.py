"""Sizes that code reads from a tensor during the trace, and that tell when they are used for more than a size.

A size of a channel dimension may go into ``view``, ``expand`` or ``zeros``: there it follows the channels. Anything
else that code does with it (a formula, a comparison, a length, an index) has a result that depends on how many channels
there are, which pruning changes and masking does not. Python's own functions written in C read a subclass of ``int``
without asking it, so such a size is no ``int``; it only says that it is one, and is asked for its value every time.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Dim:
    """One size of a dimension that channels lie along.

    ``value`` looks at the number without telling anybody; every other way to it calls ``used`` first.
    """

    __slots__ = ("_same", "_used", "channels", "value")

    def __init__(
        self,
        value: int,
        used: Callable[[], None],
        channels: Tensor | None = None,
        same: Callable[[Tensor, Tensor], bool] = torch.equal,
    ) -> None:
        """Wrap a size.

        Args:
            value: The number.
            used: Called whenever code reads the number.
            channels: (n,) labels along the dimension; None where only their number is known.
            same: Whether two such labels name channels that live and die together.
        """
        self.value, self.channels = value, channels
        self._used, self._same = used, same

    @property  # type: ignore[misc]  # every other object may be given another class
    def __class__(self) -> type:
        """``isinstance(size, int)`` holds, as it does outside a trace."""
        return int

    def use(self) -> int:
        """Return the number for something that depends on it."""
        self._used()
        return self.value

    def _as_large_as(self, other: Any) -> bool:
        """Whether another size stays equal to this one whatever is pruned."""
        if type(other) is not Dim or self.channels is None or other.channels is None:
            return self is other
        return len(self.channels) == len(other.channels) and self._same(self.channels, other.channels)

    def __eq__(self, other: object) -> bool:
        return self._as_large_as(other) or self.use() == used(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.use())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.use(), dtype)

    def __format__(self, style: str) -> str:
        return format(self.use(), style)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # asked for by libraries that look for a protocol of theirs
            raise AttributeError(name)
        return getattr(self.use(), name)  # bit_length, real, to_bytes ...


def _reading(name: str) -> Callable[[Dim], Any]:
    return lambda self, *others: getattr(int, name)(self.use(), *map(used, others))


def _calculating(operate: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    return (
        lambda self, other, *modulus: operate(self.use(), used(other), *map(used, modulus)),
        lambda self, other, *modulus: operate(used(other), self.use(), *map(used, modulus)),
    )


for _name in "neg pos abs invert int float index bool repr str round trunc floor ceil".split():
    setattr(Dim, f"__{_name}__", _reading(f"__{_name}__"))
for _name in "lt le gt ge".split():
    setattr(Dim, f"__{_name}__", _calculating(getattr(operator, _name))[0])
_BUILT_IN: dict[str, Callable[..., Any]] = {"divmod": divmod, "pow": pow}
for _name in "add sub mul truediv floordiv mod divmod pow lshift rshift and or xor".split():
    _operate = _BUILT_IN.get(_name) or getattr(operator, f"__{_name}__")
    _forward, _backward = _calculating(_operate)
    setattr(Dim, f"__{_name}__", _forward)
    setattr(Dim, f"__r{_name}__", _backward)


def used(value: Any) -> Any:
    """Return the number of a size for something that depends on it, and any other value as it is."""
    return value.use() if type(value) is Dim else value


def plain(value: Any) -> Any:
    """Return a value with every size in it (lists, tuples, dicts, slices) as a number that tells nobody."""
    if type(value) is Dim:
        return value.value
    if type(value) is Sizes:
        return torch.Size(plain(tuple(value)))
    if isinstance(value, slice):
        return slice(plain(value.start), plain(value.stop), plain(value.step))
    if type(value) in (list, tuple):
        return type(value)(plain(item) for item in value)
    if type(value) is dict:
        return {key: plain(item) for key, item in value.items()}
    return value


def sizes_in(value: Any) -> Iterator[Dim]:
    """Yield every size inside nested lists, tuples, dicts and slices."""
    if type(value) is Dim:
        yield value
    elif isinstance(value, slice):
        yield from sizes_in((value.start, value.stop, value.step))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from sizes_in(item)
    elif isinstance(value, dict):
        yield from sizes_in(list(value.values()))


class Sizes(tuple):
    """The shape of a tensor of which some sizes are ``Dim``; stands for ``torch.Size``, which holds numbers only."""

    def numel(self) -> int:
        """Return the product of the sizes."""
        return prod(self)

    def __getitem__(self, index: Any) -> Any:
        picked = super().__getitem__(index)
        return Sizes(picked) if isinstance(index, slice) else picked

    def __add__(self, other: tuple) -> Sizes:
        return Sizes((*self, *other))
