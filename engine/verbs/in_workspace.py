"""What pages have a child process do with a model of the workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.base.events import silent
from engine.base.runtime import compute_threads
from engine.settings.plan import RECALIBRATION_IMAGES
from engine.settings.requests import PruneRequest
from engine.verbs.pruning import plan_arguments, recalibration_images
from engine.verbs.scoring import with_scores

PRUNED = "pruned.pt"
"What the file is called in its folder."


def told_pruned(
    scratch: Path, weights: str, spec: dict[str, Any], workspace: str, table: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write a model pruned by a specification of the verb ``prune`` into a folder.

    Args:
        scratch: The folder.
        weights: The checkpoint.
        spec: Without weights and folder.
        workspace: Knows the scores that were computed on images.
        table: File of latencies that one is predicted from, where the model is pruned to one.

    Returns:
        Parameters, achieved ratio, and the specification as it was carried out.

    Raises:
        PlanError, DatasetError, StorageError: As the verb.
    """
    from engine.latency import LatencyTable, known_costs
    from engine.pruning.session import Slimming
    from engine.validation.impact import recalibration_pays

    request = PruneRequest.read({**spec, "weights": weights, "workspace": workspace})
    opened, asked = Slimming.open(Path(weights)), plan_arguments(request)
    importance = with_scores(asked.importance, opened, request, silent)
    costs = None
    if asked.latency_ms is not None:
        costs = known_costs(opened, asked.imgsz, LatencyTable(Path(table), request.threads or compute_threads()))
    plan = opened.plan(asked.target, asked.settings, asked.imgsz, importance, costs)
    count = request.recalibrate or 0
    if request.recalibrate is None and request.data is not None:  # as the curve behind the slider was measured
        model = opened.checkpoint.model
        pays = recalibration_pays(model, opened.graph, plan.keep, compensated=request.compensate)
        count = RECALIBRATION_IMAGES if pays else 0
    preview = opened.describe(plan, asked.imgsz)
    opened.prune(
        asked.target,
        scratch / PRUNED,
        asked.settings,
        imgsz=asked.imgsz,
        importance=importance,
        costs=costs,
        compensated=request.compensate,
        recalibration=recalibration_images(request.model_copy(update={"recalibrate": count}), opened.checkpoint),
    )
    # Recorded as a number, so that the command that repeats the step needs no rule.
    carried_out = {key: value for key, value in spec.items() if key != "recalibrate"}
    carried_out |= {"recalibrate": count} if count else {}
    told = {"params": preview.params, "ratio_achieved": preview.ratio_achieved}
    return {**told, "spec": carried_out}, {}
