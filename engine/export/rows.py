"""Final boxes as raw outputs: rows that two runtimes may order differently, compared all the same."""

from __future__ import annotations

import numpy as np

SMALLEST_MAGNITUDE = 1e-3
"Below this largest value a column is compared absolutely: float32 noise has no meaningful ratio to zero."
_SCORE, _CLASS = 4, 5
_SURELY_INSIDE = 10
"A row is expected in both lists if it lies above the weakest one by so many times what the scores differ by."


def compare_rows(expected: np.ndarray, got: np.ndarray) -> tuple[np.ndarray, float]:
    """Compare (N, K, 6 + extras) rows of box, score, class and what the task adds.

    Scores are compared rank by rank. Everything else of a row is compared with the row most like it: where two scores
    are next to equal, which one comes first, and which one is the last to come at all, is for rounding to decide.

    Returns:
        The differences, absolute, of all that was compared; and the largest one relative to the largest value in its
        column, where a row of another class counts as 1.
    """
    magnitude = np.maximum(np.abs(expected).max(axis=(0, 1)), SMALLEST_MAGNITUDE)  # (6 + extras,)
    differences, largest = [], 0.0
    for wanted, found in zip(expected.astype(np.float64), got.astype(np.float64), strict=True):
        scores = np.abs(np.sort(wanted[:, _SCORE]) - np.sort(found[:, _SCORE]))  # (K,)
        weakest = wanted[:, _SCORE].min() + _SURELY_INSIDE * scores.max()
        rows, relative = _nearest(wanted[wanted[:, _SCORE] > weakest], found, magnitude)
        differences += [scores, rows]
        largest = max(largest, float(scores.max() / magnitude[_SCORE]), relative)
    return np.concatenate(differences), largest


def _nearest(wanted: np.ndarray, found: np.ndarray, magnitude: np.ndarray) -> tuple[np.ndarray, float]:
    """Return how rows differ from those most like them, class aside: absolute differences, and the largest relative."""
    if not len(wanted):
        return np.zeros(0), 0.0
    values = np.arange(wanted.shape[1]) != _CLASS
    apart = np.abs(wanted[:, None, values] - found[None, :, values])  # (n, K, 5 + extras)
    relative = (apart / magnitude[values]).max(axis=2)  # (n, K)
    relative = np.where(wanted[:, None, _CLASS] == found[None, :, _CLASS], relative, np.maximum(relative, 1))
    nearest = relative.argmin(axis=1)
    rows = np.arange(len(wanted))
    return apart[rows, nearest].ravel(), float(relative[rows, nearest].max())
