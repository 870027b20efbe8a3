"""Channel identities: a union-find over every channel that a trace meets, with the reasons for freezing some."""

from __future__ import annotations

import torch
from torch import Tensor


class ChannelTable:
    """Channels are the integers from 1; tied channels are united, frozen ones carry a reason in words."""

    def __init__(self) -> None:
        self._parent = [0]
        self._reasons: dict[int, str] = {}
        self._added: set[int] = set()

    def new(self, count: int) -> Tensor:
        """Return ``count`` new channels, shape (count,), int64."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return torch.arange(first, first + count)

    def find(self, channel: int) -> int:
        """Return the representative of the group that the channel belongs to."""
        parent = self._parent
        while parent[channel] != channel:
            parent[channel] = parent[parent[channel]]
            channel = parent[channel]
        return channel

    def unite(self, first: Tensor, second: Tensor, *, added: bool = False) -> None:
        """Tie channels pairwise; signs are ignored and pairs with 0 (no channel) are skipped.

        Args:
            first: Channels of any shape.
            second: Channels of the same shape.
            added: The tie comes from an elementwise add, that is from a residual connection.
        """
        pairs = torch.stack([first.abs().flatten(), second.abs().flatten()], dim=1)
        pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & (pairs[:, 0] > 0) & (pairs[:, 1] > 0)]
        for a, b in torch.unique(pairs, dim=0).tolist():
            root_a, root_b = self.find(a), self.find(b)
            if root_a != root_b:
                self._parent[max(root_a, root_b)] = min(root_a, root_b)
            if added:
                self._added.add(a)

    def same(self, first: Tensor, second: Tensor) -> bool:
        """Whether two (n,) vectors name the same channels, or tied ones, place by place."""
        return self.representatives(first) == self.representatives(second)

    def freeze(self, channels: Tensor, reason: str) -> None:
        """Keep these channels for ever; the first reason given for a channel is the one that is told."""
        for channel in torch.unique(channels.abs()).tolist():
            if channel:
                self._reasons.setdefault(channel, reason)

    def frozen_groups(self) -> dict[int, str]:
        """Return representative -> reason for every group with a frozen member."""
        frozen: dict[int, str] = {}
        for channel, reason in sorted(self._reasons.items()):
            frozen.setdefault(self.find(channel), reason)
        return frozen

    def residual_groups(self) -> set[int]:
        """Return the representatives of the groups that an elementwise add tied together."""
        return {self.find(channel) for channel in self._added}

    def representatives(self, channels: Tensor) -> list[int]:
        """Return the representative of each channel of a (n,) vector; 0 stays 0."""
        return [self.find(abs(channel)) if channel else 0 for channel in channels.tolist()]
