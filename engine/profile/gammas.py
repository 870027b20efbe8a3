"""BatchNorm scale factors: what they are and what they say about a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.base.numbers import gamma, percent

NEAR_ZERO = 1e-2
"A channel with |gamma| below this contributes next to nothing."


@dataclass(frozen=True)
class LayerGammas:
    """|gamma| of one BatchNorm layer."""

    name: str
    values: np.ndarray
    "(C,) float64, not negative."


@dataclass(frozen=True)
class GammaSummary:
    """What the gammas of a whole model say."""

    channels: int
    median: float
    p10: float
    p90: float
    near_zero: float
    "Share of channels with |gamma| < 0.01."
    zero: float
    "Share of channels with gamma exactly 0."
    sparse: bool
    "The distribution separates channels that matter from channels that do not."
    verdict: str
    "The same in a sentence for a person."


def summarise_gammas(layers: tuple[LayerGammas, ...]) -> GammaSummary:
    """Summarise the gammas of a model and judge whether sparse training has separated them.

    A network that was never sparse-trained keeps its gammas in one lump (they start at 1): the smallest are still a
    good part of the median, and choosing among them is close to guessing.
    """
    values = np.concatenate([layer.values for layer in layers])
    p10, median, p90 = (float(value) for value in np.percentile(values, [10, 50, 90]))
    near_zero, zero = float((values < NEAR_ZERO).mean()), float((values == 0).mean())
    sparse = near_zero >= 0.05
    if sparse:
        share = percent(near_zero)
        verdict = f"{share} of the channels have a gamma below {NEAR_ZERO:g}: pruning can tell them apart."
    elif p10 > 0.25 * median:
        verdict = (
            f"Hardly any gamma is small (median {gamma(median)}, nine in ten above {gamma(p10)}): this checkpoint "
            "was not sparse-trained, and pruning it by gamma is close to guessing. Run sparse training first, or score "
            "its channels on a data set."
        )
    else:
        verdict = (
            f"Gammas are spread out (median {gamma(median)}, a tenth below {gamma(p10)}) but few are near zero: "
            "pruning will cost accuracy that fine-tuning must win back. Sparse training first gives better results."
        )
    return GammaSummary(len(values), median, p10, p90, near_zero, zero, sparse, verdict)


def gamma_histogram(values: np.ndarray, bins: int = 60) -> tuple[list[float], list[int]]:
    """Return (bins + 1 edges, bins counts) of |gamma| from 0 to the largest value, at least 1."""
    upper = max(1.0, float(values.max(initial=0.0)))
    counts, edges = np.histogram(values, bins=bins, range=(0.0, upper))
    return edges.tolist(), counts.tolist()
