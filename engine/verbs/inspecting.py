"""inspect: describe a checkpoint."""

from __future__ import annotations

from dataclasses import asdict

from engine.base.events import Report
from engine.verbs.common import Result, Spec, given, resolve_weights


def inspect(spec: Spec, report: Report) -> Result:
    """Describe a checkpoint: task, classes, size, gammas of every layer."""
    import numpy as np

    from engine.base.imgsz import as_size, size_for_json
    from engine.pruning.gammas import collect_gammas, summarise_gammas
    from engine.pruning.session import Slimming

    slimming = Slimming.open(resolve_weights(spec["weights"]))
    checkpoint, imgsz = slimming.checkpoint, as_size(given(spec, "imgsz", 640))
    layers = collect_gammas(checkpoint.model)
    prunable = {layer.name: (layer.prunable_channels, layer.reason) for layer in slimming.graph.layers}
    return {
        "weights": str(checkpoint.path),
        "task": checkpoint.task,
        "names": checkpoint.names,
        "trained_imgsz": checkpoint.imgsz,
        "image_channels": checkpoint.channels,
        "params": checkpoint.params,
        "gflops": slimming.cost_model(imgsz).before.gflops,
        "imgsz": size_for_json(imgsz),
        "made": checkpoint.made,
        "gammas": asdict(summarise_gammas(layers)),
        "layers": [
            {
                "name": layer.name,
                "channels": len(layer.values),
                "prunable": prunable.get(layer.name, (0, "not run in a forward pass"))[0],
                "reason": prunable.get(layer.name, (0, "not run in a forward pass"))[1],
                "gamma_min": float(layer.values.min()),
                "gamma_median": float(np.median(layer.values)),
                "gamma_max": float(layer.values.max()),
            }
            for layer in layers
        ],
    }
