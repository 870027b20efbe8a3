"""Blocks whose code cuts channels by sizes that the trace cannot see, stated as constraints in one table.

Everything else is derived from the operations themselves. A block that is not listed here and cuts its channels by a
fixed size is frozen, with that reason.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from ultralytics.nn.modules import block


@dataclass(frozen=True)
class EqualSplit:
    """``split((self.<width>, self.<width>), 1)`` or ``chunk``: equal pieces whose width is kept in an attribute."""

    width: str


@dataclass(frozen=True)
class AttentionHeads:
    """Multi-head attention over ``view(B, heads, 2 * key + value, N).split([key, key, value], 2)``.

    The value width may shrink, by the same number of channels in every head and with the block's input, because the
    result is viewed back to the input's shape. Query and key stay whole: their dot product is scaled by a constant
    that belongs to their width.
    """

    heads: str
    value: str


BLOCKS: dict[type[nn.Module], EqualSplit | AttentionHeads] = {
    block.C2f: EqualSplit("c"),
    block.C2PSA: EqualSplit("c"),
    block.PSA: EqualSplit("c"),
    block.Attention: AttentionHeads(heads="num_heads", value="head_dim"),
}


def block_rule(module: nn.Module) -> EqualSplit | AttentionHeads | None:
    """Return the rule for a module, also where it is a subclass that keeps its parent's forward."""
    for kind in type(module).__mro__:
        if kind in BLOCKS:
            return BLOCKS[kind] if type(module).forward is kind.forward else None
    return None
