"""One forward pass in which every feature map carries the identity of each of its channels.

The pass runs on the meta device: shapes without numbers, so tracing needs neither the weights' memory nor their
arithmetic. A ``TorchFunctionMode`` sees every operation whatever module it stands in; what it does not understand
freezes the channels that go in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from engine.graph.channels import ChannelTable
from engine.graph.labels import vector_along


class Dim(int):
    """A size read from ``tensor.shape`` during the trace: it follows the tensor when channels are removed.

    ``channels`` holds the labels along that dimension when they are one channel per position, else None. Where such a
    size enters a formula, the result depends on how many channels there are, which pruning changes and masking does
    not, so ``in_formula`` is called with the channels. The formula itself gives a plain number, which counts as fixed
    in the code.
    """

    channels: Tensor | None = None
    in_formula: Callable[[Tensor], None] | None = None

    def _used(self) -> int:
        if self.channels is not None and self.in_formula is not None:
            self.in_formula(self.channels)
        return int.__int__(self)

    def __float__(self) -> float:
        return float(self._used())


def _formula(name: str) -> Callable[..., Any]:
    plain = getattr(int, name)

    def operator(self: Dim, *others: Any) -> Any:
        return plain(self._used(), *others)

    return operator


for _name in "add sub mul truediv floordiv mod pow".split():
    setattr(Dim, f"__{_name}__", _formula(f"__{_name}__"))
    setattr(Dim, f"__r{_name}__", _formula(f"__r{_name}__"))
Dim.__neg__ = _formula("__neg__")


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield every tensor inside nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)


class Tracer(TorchFunctionMode):
    """Follows labels through a forward pass and records where every channel is stored and read.

    Attributes:
        layers: BatchNorm name -> (C,) channels.
        tensor_axes: parameter or buffer name -> per dimension the (n,) channels, or None.
        module_inputs: module name -> (n,) channels of its input.
        equal_counts: (pieces, multiplicities, reason) as recorded by chunk, split and reshape.
        attributes: (module name, attribute, (n,) channels whose count it holds).
        products: (module name, list of (n,) channels) of matrix products that run outside any module.
        made_by: id of a tensor -> name of the convolution or linear layer that made it.
        normalised: name of a convolution or linear layer -> BatchNorm that reads its output directly.
    """

    def __init__(
        self,
        model: nn.Module,
        handlers: dict[str, Callable],
        *,
        sources: frozenset[str],
        adopting: frozenset[str],
        sized: frozenset[str],
    ) -> None:
        """Prepare to trace a model on the meta device.

        Args:
            model: The model, hooked until ``close``.
            handlers: Operation name without underscores -> function that carries the labels over.
            sources: Operations that make channels from inputs without any.
            adopting: Operations through which a bare parameter takes part in the channel structure.
            sized: Operations that take sizes as sizes, not as numbers to calculate with.
        """
        super().__init__()
        self._sources, self._adopting, self._sized = sources, adopting, sized
        self.channels = ChannelTable()
        self.layers: dict[str, Tensor] = {}
        self.tensor_axes: dict[str, list[Tensor | None]] = {}
        self.module_inputs: dict[str, Tensor] = {}
        self.equal_counts: list[tuple[list[Tensor], list[int], str]] = []
        self.attributes: list[tuple[str, str, Tensor]] = []
        self.products: list[tuple[str, list[Tensor]]] = []
        self.made_by: dict[int, str] = {}
        self.normalised: dict[str, str] = {}
        self.recording_products = True
        self._handlers = handlers
        self._names = {id(t): name for name, t in [*model.named_parameters(), *model.named_buffers()]}
        self._modules = {name: module for name, module in model.named_modules()}
        self._labels: dict[int, tuple[Tensor, Tensor]] = {}  # the tensor is held so that its id is not used again
        self._stack: list[str] = []
        self._hooks = [hook for name, module in self._modules.items() for hook in self._watch(name, module)]

    def _watch(self, name: str, module: nn.Module) -> list[Any]:
        def enter(_module: nn.Module, args: tuple) -> None:
            self._stack.append(name)
            for tensor in tensors_in(args[:1]):
                vector = self.vector(tensor, 1) if tensor.dim() > 1 else None
                if vector is not None and not module._modules:
                    self.module_inputs[name] = vector
                break

        def leave(_module: nn.Module, _args: tuple, _output: Any) -> None:
            self._stack.pop()

        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]

    def close(self) -> None:
        """Remove every hook and forget the tensors."""
        for hook in self._hooks:
            hook.remove()
        self._labels.clear()

    @property
    def module_name(self) -> str:
        """Name of the innermost module that is running."""
        return self._stack[-1] if self._stack else ""

    @property
    def module(self) -> nn.Module:
        """The innermost module that is running."""
        return self._modules[self.module_name]

    def parameter_name(self, tensor: Any) -> str | None:
        """Return the name of a parameter or buffer of the model, None for any other value."""
        return self._names.get(id(tensor)) if isinstance(tensor, Tensor) else None

    def labels(self, tensor: Tensor) -> Tensor | None:
        """Return the compressed labels of a tensor, or None if it carries no channel."""
        known = self._labels.get(id(tensor))
        return None if known is None else known[1]

    def adopt(self, tensor: Tensor) -> None:
        """Give a one-dimensional parameter channels of its own (a learned scale that is no module's weight).

        So it can be cut together with what it is multiplied with.
        """
        name = self.parameter_name(tensor)
        if name is not None and tensor.dim() == 1 and isinstance(tensor, nn.Parameter):
            self.set(tensor, -self.axis(name, 0, tensor.shape[0]))

    def vector(self, tensor: Tensor, dim: int) -> Tensor | None:
        """Return the (n,) channels along one dimension, None without labels or where they vary along another one."""
        labels = self.labels(tensor)
        return None if labels is None else vector_along(labels, dim, tensor.shape[dim])

    def set(self, tensor: Tensor, labels: Tensor | None) -> None:
        """Attach labels to a tensor; None or all 0 detaches."""
        if labels is None or not bool((labels != 0).any()):
            self._labels.pop(id(tensor), None)
        else:
            self._labels[id(tensor)] = (tensor, labels)

    def freeze(self, value: Any, reason: str) -> None:
        """Freeze every channel inside a value (tensors nested in lists and dicts, or a label tensor's channels)."""
        for tensor in tensors_in(value):
            labels = self.labels(tensor)
            if labels is not None:
                self.channels.freeze(labels, reason)

    def axis(self, name: str, dim: int, size: int) -> Tensor:
        """Return the channels along a dimension of a parameter, new ones at the first call."""
        known = self.tensor_axes.get(name)
        if known is not None and len(known) > dim and known[dim] is not None:
            return known[dim]
        vector = self.channels.new(size)
        self.store(name, dim, vector)
        return vector

    def store(self, name: str, dim: int, vector: Tensor) -> None:
        """Record that dimension ``dim`` of a parameter or buffer holds these channels; a second record ties them."""
        axes = self.tensor_axes.setdefault(name, [])
        axes.extend([None] * (dim + 1 - len(axes)))
        if axes[dim] is None:
            axes[dim] = vector.abs()
        else:
            self._tie_reads(axes[dim], vector)

    def _tie_reads(self, first: Tensor, second: Tensor) -> None:
        """A weight that is used twice reads two inputs with the same slice, so their channels are tied."""
        self.channels.unite(first, second)
        unnamed = (first == 0) | (second == 0)
        self.channels.freeze(torch.cat([first[unnamed], second[unnamed]]), "shared weight reads a fixed input")

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run one operation and follow the labels through it."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "__get__":
            return self._property(args[0], func(*args))
        name = name.strip("_")
        if name in self._adopting:
            for tensor in tensors_in(args):
                self.adopt(tensor)
        # An in-place operation overwrites the labels of its argument, so they are looked at before it runs.
        labelled = any(self.labels(tensor) is not None for tensor in tensors_in([args, kwargs]))
        output = func(*args, **kwargs)
        if name == "size":
            sizes = self._sizes(args[0], args[0].shape)
            return sizes if isinstance(output, torch.Size) else sizes[args[1] if len(args) > 1 else kwargs["dim"]]
        if name not in self._sized:
            self._freeze_numbers([args, kwargs])
        handler = self._handlers.get(name)
        if handler is not None and (labelled or name in self._sources):
            handler(self, func, args, kwargs, output)
        elif labelled and any(True for _ in tensors_in(output)):  # questions such as x.dim() read no element
            self._freeze_unknown(name, args, kwargs, output)
        return output

    def _freeze_formula(self, channels: Tensor) -> None:
        self.channels.freeze(channels, f"its number of channels is used in a formula in {type(self.module).__name__}")

    def _freeze_numbers(self, value: Any) -> None:
        """Freeze the channels of every size that an operation takes as a number."""
        if isinstance(value, Dim) and value.channels is not None:
            self._freeze_formula(value.channels)
        elif isinstance(value, dict):
            self._freeze_numbers(list(value.values()))
        elif isinstance(value, (list, tuple)):
            for item in value:
                self._freeze_numbers(item)

    def _freeze_unknown(self, name: str, args: tuple, kwargs: dict, output: Any) -> None:
        where = type(self.module).__name__ if self._stack else "the model"
        self.freeze([args, kwargs], f"read by {name} in {where}")
        for tensor in tensors_in(output):
            self.set(tensor, None)

    def _property(self, tensor: Tensor, value: Any) -> Any:
        """Follow ``x.shape`` (sizes that know their channels), ``x.data`` (same layout) and ``x.T`` (frozen)."""
        if isinstance(value, torch.Size):
            return self._sizes(tensor, value)
        if isinstance(value, Tensor) and value is not tensor and self.labels(tensor) is not None:
            if value.shape == tensor.shape:
                self.set(value, self.labels(tensor))
            else:
                self.freeze(tensor, "transposed by attribute")
        return value

    def _sizes(self, tensor: Tensor, shape: torch.Size) -> torch.Size:
        sizes = [Dim(size) for size in shape]
        if self.labels(tensor) is not None:
            for dim, size in enumerate(sizes):
                vector = self.vector(tensor, dim)
                size.channels = vector if vector is not None and bool((vector != 0).any()) else None
                size.in_formula = self._freeze_formula
        return torch.Size(sizes)
