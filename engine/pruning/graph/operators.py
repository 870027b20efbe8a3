"""Which handler follows which operation.

Operations go by their name without leading and trailing underscores, so that ``torch.add``, ``Tensor.add_`` and
``Tensor.__add__`` are one. What stands in no table freezes the channels that go in.
"""

from __future__ import annotations

from engine.pruning.graph import elementwise, layout, splitting, weighted_sums
from engine.pruning.graph.common import Handler, freeze_inputs

_MOVES = "permute transpose swapaxes swapdims movedim unsqueeze expand_as flatten squeeze ravel flip"
_JOINED = "cat concat concatenate stack"
_SAME = "to float half bfloat16 type type_as contiguous clone detach cpu cuda requires_grad relu relu6 leaky_relu "
_SAME += "silu gelu mish hardswish tanh elu selu celu softsign abs neg sqrt square dropout dropout2d dropout3d "
_SAME += "identity"
_OFFSET = "sigmoid hardsigmoid logsigmoid softplus exp cos clamp clip"
# torch's own max pools are made by one helper, after which they all go by the name "fn".
_SPATIAL = "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
_SPATIAL += "adaptive_max_pool1d adaptive_max_pool2d interpolate upsample boolean_dispatch fn"
_REDUCTIONS = "mean sum amax amin"
_ADDED = "add iadd radd sub isub maximum minimum"
_MULTIPLIED = "mul imul rmul multiply"
_DIVIDED = "div truediv itruediv true_divide"
_ALIKE = "ones_like empty_like full_like rand_like randn_like"
_NEW = "new_full new_zeros new_ones new_empty"

SOURCES = frozenset("conv1d conv2d conv3d conv_transpose2d linear batch_norm".split())
SIZED = frozenset(f"view reshape expand size empty zeros ones full {_NEW}".split())
ADOPTING = frozenset(f"{_MULTIPLIED} {_ADDED} view reshape unsqueeze".split())


_ONE_BY_ONE: dict[str, Handler] = {
    "conv1d": weighted_sums.convolution,
    "conv2d": weighted_sums.convolution,
    "conv3d": weighted_sums.convolution,
    "conv_transpose2d": weighted_sums.transposed_convolution,
    "linear": weighted_sums.linear,
    "batch_norm": weighted_sums.batch_norm,
    "matmul": weighted_sums.matrix_product,
    "bmm": weighted_sums.matrix_product,
    "softmax": elementwise.softmax,
    "pad": layout.constant_pad,
    "chunk": splitting.chunk,
    "split": splitting.split,
    "view": splitting.view,
    "reshape": splitting.view,
    "expand": layout.expanded,
    "repeat": layout.expanded,
    "roll": layout.rolled,
    "getitem": layout.index,
    "setitem": freeze_inputs,
    "numel": freeze_inputs,
    "hardtanh": elementwise.clamped,
    "prelu": elementwise.prelu,
}
_BY_FAMILY: tuple[tuple[str, Handler], ...] = (
    (_MOVES, layout.move),
    (_JOINED, layout.joined),
    (_SAME, elementwise.same),
    (_OFFSET, elementwise.offset),
    (_SPATIAL, layout.spatial),
    (_REDUCTIONS, layout.reduction),
    (_ADDED, elementwise.added),
    (_MULTIPLIED, elementwise.multiplied),
    (_DIVIDED, elementwise.divided),
    (_ALIKE, layout.alike),
    ("zeros_like", layout.zeros_alike),
    (_NEW, layout.made_new),
)


def handlers() -> dict[str, Handler]:
    """Return operation name (without leading and trailing underscores) -> handler."""
    return _ONE_BY_ONE | {name: handler for names, handler in _BY_FAMILY for name in names.split()}
