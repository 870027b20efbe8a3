"""preview and prune: what a plan would give, and the smaller model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.base import numbers
from engine.base.errors import PlanError, StopRequested
from engine.base.events import Report, status_event
from engine.base.imgsz import ImageSize
from engine.settings.choices import USUAL_CRITERION
from engine.settings.plan import Limits, PlanSettings, Scores, Target
from engine.settings.requests import PreviewRequest, PruneRequest
from engine.settings.results import Artefact, PreviewResult, PruneResult
from engine.verbs.common import resolve_weights
from engine.verbs.scoring import with_scores

if TYPE_CHECKING:
    from engine.checkpoints.checkpoint import Checkpoint
    from engine.pruning.criteria import ImportanceSettings
    from engine.pruning.solver import Budget, SolverSettings


def preview(request: PreviewRequest, report: Report) -> PreviewResult:
    """Say what pruning to a ratio or budget would give, without doing it."""
    slimming, plan = _opened(request, report)
    return PreviewResult(**_planned(slimming, plan), **_predicted_latency(slimming, plan))


def _planned(slimming: Any, plan: PlanArguments) -> dict[str, Any]:
    """Return what a plan gives, as the fields of ``PreviewResult``."""
    preview = slimming.preview(plan.target, plan.settings, plan.imgsz, plan.importance)
    return dict(preview)


def _opened(request: PreviewRequest | PruneRequest, report: Report) -> tuple[Any, PlanArguments]:
    """Open the checkpoint with its scores; where a latency is asked for, with what predicts it on this machine."""
    from engine.checkpoints.checkpoint import open_checkpoint
    from engine.pruning.session import Slimming

    plan = plan_arguments(request)
    checkpoint = open_checkpoint(resolve_weights(request.weights))
    slimming: Slimming
    if plan.latency_ms is None:
        slimming = Slimming(checkpoint)
    else:
        from engine.latency import TimedSlimming

        slimming = TimedSlimming(checkpoint, threads=request.threads, report=report)
    return slimming, replace(plan, importance=with_scores(plan.importance, slimming, request, report))


def _predicted_latency(slimming: Any, plan: PlanArguments) -> dict[str, float]:
    """Return the latency before and after, in milliseconds, where the plan was made for one."""
    if plan.latency_ms is None:
        return {}
    costs = slimming.timed_costs(plan.imgsz)
    keep = slimming.plan(plan.target, plan.settings, plan.imgsz, plan.importance).keep
    return {"latency_ms_before": costs.before.latency_ms, "latency_ms": costs.latency_ms(keep)}


def _timed(result: PruneResult, slimming: Any, target_ms: float, predicted_ms: float, report: Report) -> PruneResult:
    """Return the result with the latency of the whole and the pruned model as measured, or with why it has none."""
    from engine.latency.checking import check_latency
    from engine.latency.text import measured_lines

    try:
        check = check_latency(
            slimming.checkpoint.path,
            Path(result.pruned),
            target_ms=target_ms,
            predicted_ms=predicted_ms,
            imgsz=result.imgsz,
            threads=slimming.table.threads,
            report=report,
        )
        timed = result.model_copy(update=check.told())
        report(status_event(f"Latency {'. '.join(measured_lines(timed))}"))
        return timed
    except StopRequested:  # the pruned model is there, so there is something to keep
        return result.model_copy(update={"stopped": True})
    except Exception as error:  # whatever the runtime lets through: the pruned model must not be lost over it
        reason = " ".join(str(error).split()) or type(error).__name__
        note = f"The pruned model is written, but its latency could not be measured: {reason}"
        return result.model_copy(update={"latency_note": note})


def prune(request: PruneRequest, report: Report) -> PruneResult:
    """Write SAVE_DIR/pruned.pt, a physically smaller model; one that was pruned to a latency is then timed."""
    from engine.checkpoints.restricted import holds_torchvision

    slimming, plan = _opened(request, report)
    path = request.folder / "pruned.pt"
    if path.exists() and path.samefile(slimming.checkpoint.path):
        raise PlanError(f"{path} is the checkpoint to prune; choose another --save-dir so that it is not overwritten.")
    slimming.prune(
        plan.target,
        path,
        plan.settings,
        imgsz=plan.imgsz,
        importance=plan.importance,
        compensated=request.compensate,
        recalibration=recalibration_images(request, slimming.checkpoint),
    )
    artefact = Artefact(path=str(path), kind="pruned", is_model=True)
    latency = _predicted_latency(slimming, plan)
    result = PruneResult(pruned=str(path), artefacts=(artefact,), **_planned(slimming, plan), **latency)
    report(
        status_event(
            f"Pruned {numbers.exact(result.params_before)} -> {numbers.exact(result.params)} parameters, "
            f"{numbers.gflops(result.gflops_before)} -> {numbers.gflops_at(result.gflops, result.imgsz)}"
        )
    )
    if holds_torchvision(slimming.checkpoint.model):
        report(
            status_event(
                "Stock Ultralytics opens this file as it opens the original: not under "
                "ULTRALYTICS_SAFE_LOAD=1, whose list of safe classes has no layers of torchvision"
            )
        )
    if result.latency_ms is None or plan.latency_ms is None or not request.check_latency:
        return result
    return _timed(result, slimming, plan.latency_ms, result.latency_ms, report)


@dataclass(frozen=True)
class PlanArguments:
    """What a plan is made from."""

    target: float | Budget
    settings: SolverSettings
    importance: ImportanceSettings
    imgsz: ImageSize

    @property
    def latency_ms(self) -> float | None:
        """What the pruned model may take, None where the plan is made for something else."""
        return getattr(self.target, "latency_ms", None)


def plan_arguments(request: PlanSettings) -> PlanArguments:
    """Return what a plan is made from.

    Raises:
        PlanError: There is no ratio and no budget, or both, or a layer's own ratio cannot be.
    """
    return PlanArguments(_target(request), solver_settings(request), importance_settings(request), request.imgsz)


def _target(request: Target) -> float | Budget:
    from engine.pruning.solver import Budget

    costs = {"params": request.max_params, "gflops": request.max_gflops, "latency_ms": request.target_latency}
    budget: dict[str, Any] = {name: most for name, most in costs.items() if most is not None}
    if budget and request.prune_ratio is None:
        return Budget(**budget)
    if request.prune_ratio is None or budget:
        raise PlanError(
            "Say what to prune to: either --prune-ratio, or --max-params, --max-gflops and --target-latency."
        )
    return request.prune_ratio


def solver_settings(request: Limits) -> SolverSettings:
    """Return what bounds a plan; raises PlanError for a layer's own ratio that cannot be."""
    from engine.pruning.solver import SolverSettings

    return SolverSettings(
        protect_residual=request.protect_residual,
        floor=request.floor,
        floor_share=request.floor_share,
        scope=request.scope,
        round_to=request.round_to,
        layer_ratios=tuple(_layer_ratios(request)),
    )


def importance_settings(request: Scores) -> ImportanceSettings:
    """Return how channels are scored; raises PlanError for a file of sensitivities that is none."""
    from engine.pruning.criteria import ImportanceSettings

    return ImportanceSettings(
        criterion=request.criterion or USUAL_CRITERION,
        aggregate=request.aggregate,
        per_layer=request.per_layer,
        per_flop=request.per_flop,
        seed=request.seed,
        sensitivity=_factors(request.sensitivity),
    )


def _factors(file: str | None) -> tuple[tuple[str, float], ...]:
    """Return the factors of a measured sensitivity, none where no file is given."""
    if file is None:
        return ()
    from engine.validation.impact import read_factors

    return read_factors(file)


def _layer_ratios(request: Limits) -> Iterator[tuple[str, float]]:
    for name in request.lock:
        yield name, 0.0
    for pair in request.layer_ratio:
        name, _, ratio = pair.partition("=")
        if name in request.lock:
            raise PlanError(f"{name} is locked and has a ratio of its own; keep one of the two.")
        try:
            yield name, float(ratio)
        except ValueError as error:
            raise PlanError(f"{pair!r} is no layer ratio; write NAME=RATIO, such as model.0.bn=0.3.") from error


def recalibration_images(request: PruneRequest, checkpoint: Checkpoint) -> list[Path]:
    """Return the first ``recalibrate`` training images of the data set, none where no recalibration is asked for."""
    if not request.recalibrate:
        return []
    if request.data is None:
        raise PlanError("Recalibration needs a data set; choose one (--data).")
    from engine.datasets import check_dataset, training_images
    from engine.datasets.facts import require_images

    info = check_dataset(request.data)
    require_images(checkpoint, info)
    return training_images(info, request.recalibrate)
