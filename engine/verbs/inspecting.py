"""inspect: describe a checkpoint."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from engine.base.events import Report
from engine.settings.requests import InspectRequest
from engine.settings.results import GammaSummary, InspectResult, LayerGammas
from engine.verbs.common import resolve_weights


def inspect(request: InspectRequest, report: Report) -> InspectResult:
    """Describe a checkpoint: task, classes, size, gammas of every layer."""
    from engine.profile.gammas import summarise_gammas
    from engine.pruning.gammas import collect_gammas
    from engine.pruning.session import Slimming

    slimming = Slimming.open(resolve_weights(request.weights))
    checkpoint = slimming.checkpoint
    layers = collect_gammas(checkpoint.model)
    traced = {layer.name: (layer.prunable_channels, layer.reason) for layer in slimming.graph.layers}
    return InspectResult(
        weights=str(checkpoint.path),
        task=checkpoint.task,
        names=checkpoint.names,
        trained_imgsz=checkpoint.imgsz,
        image_channels=checkpoint.channels,
        params=checkpoint.params,
        gflops=slimming.cost_model(request.imgsz).before.gflops,
        imgsz=request.imgsz,
        made=checkpoint.made,
        gammas=GammaSummary(**asdict(summarise_gammas(layers))),
        layers=tuple(_told(layer, *traced.get(layer.name, (0, "not run in a forward pass"))) for layer in layers),
    )


def _told(layer: Any, prunable: int, reason: str) -> LayerGammas:
    """Return a layer (``engine.profile.gammas.LayerGammas``) as the result tells it."""
    import numpy as np

    return LayerGammas(
        name=layer.name,
        channels=len(layer.values),
        prunable=prunable,
        reason=reason,
        gamma_min=layer.values.min(),
        gamma_median=float(np.median(layer.values)),
        gamma_max=layer.values.max(),
    )
