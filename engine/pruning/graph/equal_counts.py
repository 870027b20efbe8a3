"""Merging of equal-count constraints, so that the solver meets each piece of channels in one constraint only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import lcm

import numpy as np

from engine.profile.graph import EqualCount

Roots = tuple[int, ...]


@dataclass
class _Constraint:
    pieces: dict[Roots, int]
    "Piece (sorted group representatives) -> multiplicity."
    reasons: list[str]

    @property
    def members(self) -> set[int]:
        return {root for piece in self.pieces for root in piece}

    def scaled(self, factor: int) -> dict[Roots, int]:
        return {piece: count * factor for piece, count in self.pieces.items()}

    def numbered(self, numbers: Callable[[list[int]], np.ndarray]) -> EqualCount:
        return EqualCount(
            pieces=tuple(numbers(list(piece)) for piece in self.pieces),
            multiplicities=tuple(self.pieces.values()),
            reason="; ".join(dict.fromkeys(self.reasons)),
        )


def merge_equal_counts(
    recorded: list[tuple[list[list[int]], list[int], str]],
    frozen: Callable[[int], bool],
    freeze: Callable[[list[int], str], None],
) -> list[_Constraint]:
    """Join constraints that share a piece; freeze those that cannot be kept.

    A constraint is given up, with all its channels frozen, where one of its pieces is always kept in part (then every
    piece would have to shrink by another amount), holds a group twice, or overlaps a piece of another shape.

    Args:
        recorded: (pieces as lists of group representatives, multiplicities, reason).
        frozen: Whether a group is always kept.
        freeze: Called with groups that have to be kept from now on, and why.
    """
    constraints = [
        _Constraint({tuple(sorted(piece)): count for piece, count in zip(pieces, counts, strict=True)}, [reason])
        for pieces, counts, reason in recorded
    ]
    constraints = _join_shared_pieces([c for c in constraints if len(c.pieces) > 1])
    alive = constraints
    while True:
        broken = [c for c in alive if not _sound(c, alive, frozen)]
        if not broken:
            return alive
        for constraint in broken:
            freeze(sorted(constraint.members - {0}), f"{constraint.reasons[0]}, one of which is always kept")
        alive = [c for c in alive if c not in broken and not all(map(frozen, c.members))]


def _join_shared_pieces(constraints: list[_Constraint]) -> list[_Constraint]:
    joined: list[_Constraint] = []
    for constraint in constraints:
        for other in [o for o in joined if o.pieces.keys() & constraint.pieces.keys()]:
            shared = next(iter(other.pieces.keys() & constraint.pieces.keys()))
            common = lcm(other.pieces[shared], constraint.pieces[shared])
            pieces = {**other.scaled(common // other.pieces[shared])}
            pieces |= constraint.scaled(common // constraint.pieces[shared])
            constraint = _Constraint(pieces, other.reasons + constraint.reasons)
            joined.remove(other)
        joined.append(constraint)
    return joined


def _sound(constraint: _Constraint, all_constraints: list[_Constraint], frozen: Callable[[int], bool]) -> bool:
    members = [root for piece in constraint.pieces for root in piece]
    if len(members) != len(set(members)) or any(map(frozen, members)):
        return False
    units = {len(piece) / count for piece, count in constraint.pieces.items()}
    if len(units) != 1 or not units.pop().is_integer():
        return False
    return all(other is constraint or not other.members & constraint.members for other in all_constraints)
