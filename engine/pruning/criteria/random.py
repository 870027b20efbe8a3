"""Random: no criterion at all, as the control.

Uniform from 0 to 1, by the seed alone. Needs nothing of the model but its layers' widths.
"""

from __future__ import annotations

import numpy as np

from engine.pruning.criteria import Context


def channel_scores(context: Context) -> list[np.ndarray]:
    """Return seeded noise."""
    generator = np.random.default_rng(context.seed)
    return [generator.random(layer.channels) for layer in context.graph.layers]
