"""Which of several models are worth their cost."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Return the positions that no other one beats, the cheapest first.

    One beats another if it costs no more and scores no less, and is better in at least one of the two. Of equals, the
    first stands for all.
    """
    front: list[int] = []
    for position in sorted(range(len(costs)), key=lambda at: (costs[at], -scores[at])):
        if not front or scores[position] > scores[front[-1]]:
            front.append(position)
    return front
