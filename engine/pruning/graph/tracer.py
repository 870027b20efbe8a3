"""One forward pass in which every feature map carries the identity of each of its channels.

The pass runs on the meta device: shapes without numbers, so tracing needs neither the weights' memory nor their
arithmetic. A ``TorchFunctionMode`` sees every operation whatever module it stands in; what it does not understand
freezes the channels that go in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from engine.checkpoints.inputs import meta_result
from engine.pruning.graph.channels import ChannelTable
from engine.pruning.graph.labels import along, vector_along
from engine.pruning.graph.sizes import Dim, Sizes, plain, sizes_in


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


_HARMLESS = frozenset(
    "dim ndim ndimension get_device element_size itemsize storage_offset data_ptr output_nr version".split()
)
"Questions that are answered with a number, which does not depend on how many channels there are."
_COUNTED_ATTRIBUTES = {
    nn.modules.conv._ConvNd: {"out_channels": 0, "in_channels": 1},
    nn.modules.conv._ConvTransposeNd: {"out_channels": 1, "in_channels": 0},
    nn.modules.batchnorm._BatchNorm: {"num_features": 0},
    nn.Linear: {"out_features": 0, "in_features": 1},
}
"Numbers that layers keep beside their weights and that surgery changes -> dimension of the weight."


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
        counting: frozenset[type] = frozenset(),
    ) -> None:
        """Prepare to trace a model on the meta device.

        Args:
            model: The model, hooked until ``close``.
            handlers: Operation name without underscores -> function that carries the labels over.
            sources: Operations that make channels from inputs without any.
            adopting: Operations through which a bare parameter takes part in the channel structure.
            sized: Operations that take sizes as sizes, not as numbers to calculate with: (..., *sizes) -> tensor.
            counting: Kinds of modules whose code takes nothing but an ``int`` for a size; what they ask for the size of
                is always kept.
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
        self._counting = counting
        self._taken: set[str] = set()  # parameters that the handler of the present operation knows as a layer's
        self._read: dict[str, str] = {}
        self._stack: list[str] = []
        self._count_attributes()
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

    def _count_attributes(self) -> None:
        """Let the channel numbers that layers keep as attributes tell when they are read."""
        for name, module in self._modules.items():
            counted = next(
                (_COUNTED_ATTRIBUTES[kind] for kind in type(module).__mro__ if kind in _COUNTED_ATTRIBUTES), {}
            )
            weight = f"{name}.weight"
            if counted and self.parameter_name(getattr(module, "weight", None)) == weight:
                for attribute, dim in counted.items():
                    setattr(module, attribute, self._size_of_parameter(weight, dim, getattr(module, attribute)))

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
        return None if labels is None else vector_along(labels, dim, plain(tensor.shape[dim]))

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
        self._taken.add(name)
        axes = self.tensor_axes.get(name, [])
        vector = axes[dim] if dim < len(axes) else None
        if vector is None:
            vector = self.channels.new(size)
            self.store(name, dim, vector)
        return vector

    def store(self, name: str, dim: int, vector: Tensor) -> None:
        """Record that dimension ``dim`` of a parameter or buffer holds these channels; a second record ties them."""
        self._taken.add(name)
        axes = self.tensor_axes.setdefault(name, [])
        axes.extend([None] * (dim + 1 - len(axes)))
        known = axes[dim]
        if known is None:
            axes[dim] = vector.abs()
        else:
            self._tie_reads(known, vector)

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
            return self._property(func, args[0])
        name = name.strip("_")
        if not args and "input" in kwargs:  # handlers find what an operation is about in the first place
            args, kwargs = (kwargs["input"],), {key: value for key, value in kwargs.items() if key != "input"}
        if name in self._adopting:
            for tensor in tensors_in(args):
                self.adopt(tensor)
        # An in-place operation overwrites the labels of its argument, so they are looked at before it runs.
        labelled = any(self.labels(tensor) is not None for tensor in tensors_in([args, kwargs]))
        output = meta_result(func, plain(args), plain(kwargs))
        if name == "size":
            sizes = self._sizes(args[0], args[0].shape)
            return sizes if isinstance(output, torch.Size) else sizes[args[1] if len(args) > 1 else kwargs["dim"]]
        if name == "len":
            self._use([self._sizes(args[0], args[0].shape)[0]])
            return output
        given = list(sizes_in([args, kwargs]))
        handler = self._handlers.get(name)
        if name not in self._sized:
            self._use(given)
            args, kwargs = plain(args), plain(kwargs)
        elif given and not labelled:
            self.made_to_size(args, kwargs, output, zero=name == "zeros")
        self._taken.clear()
        if handler is not None and (labelled or name in self._sources):
            handler(self, func, args, kwargs, output)
        else:
            self._answered(name, args, kwargs, output, labelled=labelled)
        self._note_read(name, [args, kwargs], output)
        return output

    def _note_read(self, name: str, given: Any, output: Any) -> None:
        """Remember the weights that an operation made something of, other than as the layer that they belong to."""
        made = [id(tensor) for tensor in tensors_in(output)]
        for tensor in tensors_in(given) if made else ():
            stored = self.parameter_name(tensor)
            if stored is None or stored in self._taken:
                continue
            if self.labels(tensor) is None and id(tensor) not in made:
                self._read.setdefault(stored, f"its weights are read by {name} in {self._where}")

    def freeze_read(self) -> None:
        """Keep the channels of the weights that code reads by itself: what it makes of them is not cut with them.

        Known only at the end, since a weight may be read before its layer runs.
        """
        for name, reason in self._read.items():
            for channels in self.tensor_axes.get(name, ()):
                if channels is not None:
                    self.channels.freeze(channels, reason)

    def _answered(self, name: str, args: tuple, kwargs: dict, output: Any, *, labelled: bool) -> None:
        """An operation without a handler: what it read of labelled tensors is always kept."""
        if any(True for _ in tensors_in(output)):
            if labelled:
                self._freeze_unknown(name, args, kwargs, output)
        elif _is_number(output) and name not in _HARMLESS:
            tensors = list(tensors_in([args, kwargs]))
            self._use([size for tensor in tensors for size in self._sizes(tensor, tensor.shape)])
            self.freeze(tensors, f"answers {name} in {self._where}")

    @property
    def _where(self) -> str:
        return type(self.module).__name__ if self._stack else "the model"

    def _freeze_formula(self, channels: Tensor) -> None:
        self.channels.freeze(channels, f"its number of channels is used in a formula in {self._where}")

    @staticmethod
    def _use(sizes: Iterable[Any]) -> None:
        """Keep the channels of every size among some that is used as a number."""
        for size in sizes_in(list(sizes)):
            size.use()

    def made_to_size(self, args: tuple, kwargs: dict, output: Any, *, zero: bool) -> None:
        """Give a tensor of fixed values that is made as large as one with channels these channels.

        Args:
            args: Arguments among which the sizes stand, one by one or as the only list.
            kwargs: The same by name.
            output: What was made.
            zero: Whether the values are zero.
        """
        given = list(sizes_in([args, kwargs]))
        if not given:
            self.set(output, None)
            return
        asked = [*args, *kwargs.values()]
        listed = next((list(value) for value in asked if isinstance(value, (tuple, list))), None)
        sizes = [value for value in asked if isinstance(value, int)] if listed is None else listed
        dims = [dim for dim, size in enumerate(sizes) if size is given[0]]
        if len(given) > 1 or given[0].channels is None or not dims or output.dim() != len(sizes):
            self._use(given)
            self.set(output, None)
            return
        channels = given[0].channels.abs()
        self.set(output, along(channels if zero else -channels, dims[0], output.dim()))

    def _freeze_unknown(self, name: str, args: tuple, kwargs: dict, output: Any) -> None:
        self.freeze([args, kwargs], f"read by {name} in {self._where}")
        for tensor in tensors_in(output):
            self.set(tensor, None)

    def _property(self, getter: Callable, tensor: Tensor) -> Any:
        """Follow ``x.shape`` (sizes that know their channels), ``x.data`` (same layout) and ``x.T`` (frozen)."""
        value = getter(tensor)
        if isinstance(value, torch.Size):
            return self._sizes(tensor, value)
        name = getattr(getattr(getter, "__self__", None), "__name__", "").strip("_")
        if not isinstance(value, Tensor):
            self._answered(name, (tensor,), {}, value, labelled=self.labels(tensor) is not None)
        elif self.labels(tensor) is None:
            self._taken.clear()
            self._note_read(name, tensor, value)
        elif value is not tensor:
            if value.shape == tensor.shape:
                self.set(value, self.labels(tensor))
            else:
                self.freeze(tensor, "transposed by attribute")
        return value

    def _sizes(self, tensor: Tensor, shape: torch.Size) -> torch.Size | Sizes:
        labels, name = self.labels(tensor), self.parameter_name(tensor)
        sizes: list[int | Dim]
        if labels is not None:
            sizes = [self._size_of_map(labels, dim, size) for dim, size in enumerate(shape)]
        elif name is not None:
            sizes = [self._size_of_parameter(name, dim, size) for dim, size in enumerate(shape)]
        else:
            return shape
        if self._stack and type(self.module) in self._counting:
            self._use(sizes)
            return shape
        return Sizes(sizes) if any(True for _ in sizes_in(sizes)) else shape

    def _size_of_map(self, labels: Tensor, dim: int, size: int) -> int | Dim:
        vector = vector_along(labels, dim, size)
        if vector is not None and bool((vector != 0).any()) and labels.shape[dim] > 1:
            return Dim(size, lambda: self._freeze_formula(vector), vector, self.channels.same)
        if vector is None and labels.shape[dim] > 1:
            return Dim(size, lambda: self._freeze_formula(labels))
        return size

    def _size_of_parameter(self, name: str, dim: int, size: int) -> Dim:
        return Dim(size, lambda: self._freeze_formula(self.axis(name, dim, size)))


def _is_number(value: Any) -> bool:
    """Whether an answer holds a number or a text, which may tell how many channels there are."""
    if isinstance(value, (list, tuple)):
        return any(map(_is_number, value))
    return isinstance(value, (int, float, str)) and not isinstance(value, bool)
