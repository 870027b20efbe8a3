"""preview and prune: what a plan would give, and the smaller model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.base import numbers
from engine.base.errors import PlanError, StopRequested
from engine.base.events import Report, status_event
from engine.base.imgsz import ImageSize, as_size
from engine.settings.results import Artefact, PlannedLayer, PreviewResult, PruneResult
from engine.verbs.common import Spec, given, resolve_weights

if TYPE_CHECKING:
    from engine.checkpoints.checkpoint import Checkpoint


def preview(spec: Spec, report: Report) -> PreviewResult:
    """Say what pruning to a ratio or budget would give, without doing it."""
    plan = plan_arguments(spec)
    slimming = _opened(spec, plan, report)
    return PreviewResult(**_planned(slimming, plan), **_predicted_latency(slimming, plan))


def _planned(slimming: Any, plan: PlanArguments) -> dict[str, Any]:
    """Return what a plan gives, as the fields of ``PreviewResult``."""
    preview = slimming.preview(plan.target, plan.settings, plan.imgsz, plan.importance)
    layers = tuple(PlannedLayer(**vars(layer)) for layer in preview.layers)
    return {**vars(preview), "layers": layers}


def _opened(spec: Spec, plan: PlanArguments, report: Report) -> Any:
    """Open the checkpoint; where a latency is asked for, with what predicts it on this machine."""
    from engine.pruning.session import Slimming

    weights = resolve_weights(spec["weights"])
    if getattr(plan.target, "latency_ms", None) is None:
        return Slimming.open(weights)
    from engine.checkpoints.checkpoint import open_checkpoint
    from engine.latency import TimedSlimming

    return TimedSlimming(open_checkpoint(weights), threads=spec.get("threads"), report=report)


def _predicted_latency(slimming: Any, plan: PlanArguments) -> dict[str, float]:
    """Return the latency before and after, in milliseconds, where the plan was made for one."""
    if getattr(plan.target, "latency_ms", None) is None:
        return {}
    costs = slimming.timed_costs(plan.imgsz)
    keep = slimming.plan(plan.target, plan.settings, plan.imgsz, plan.importance).keep
    return {"latency_ms_before": costs.before.latency_ms, "latency_ms": costs.latency_ms(keep)}


def _timed(result: PruneResult, slimming: Any, plan: PlanArguments, predicted_ms: float, report: Report) -> PruneResult:
    """Return the result with the latency of the whole and the pruned model as measured, or with why it has none."""
    from engine.latency.checking import check_latency
    from engine.latency.text import measured_lines

    try:
        check = check_latency(
            slimming.checkpoint.path,
            Path(result.pruned),
            target_ms=plan.target.latency_ms,
            predicted_ms=predicted_ms,
            imgsz=plan.imgsz,
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


def prune(spec: Spec, report: Report) -> PruneResult:
    """Write SAVE_DIR/pruned.pt, a physically smaller model; one that was pruned to a latency is then timed."""
    from engine.checkpoints.restricted import holds_torchvision

    plan = plan_arguments(spec)
    slimming = _opened(spec, plan, report)
    path = Path(spec["save_dir"]) / "pruned.pt"
    if path.exists() and path.samefile(slimming.checkpoint.path):
        raise PlanError(f"{path} is the checkpoint to prune; choose another --save-dir so that it is not overwritten.")
    slimming.prune(
        plan.target,
        path,
        plan.settings,
        imgsz=plan.imgsz,
        importance=plan.importance,
        compensated=given(spec, "compensate", True),
        recalibration=recalibration_images(spec, slimming.checkpoint),
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
    if result.latency_ms is None or not given(spec, "check_latency", True):
        return result
    return _timed(result, slimming, plan, result.latency_ms, report)


@dataclass(frozen=True)
class PlanArguments:
    """What a plan is made from."""

    target: Any
    "A ratio or a ``Budget``."
    settings: Any
    importance: Any
    imgsz: ImageSize


def plan_arguments(spec: Spec) -> PlanArguments:
    """Read the options that decide a plan from a specification.

    Raises:
        PlanError: An option is out of range, or there is no ratio and no budget, or both.
    """
    from engine.pruning.criteria import ImportanceSettings
    from engine.pruning.solver import DEFAULT_FLOOR, Budget, SolverSettings, check_ratio

    budget = {key: spec[f"max_{key}"] for key in ("params", "gflops") if spec.get(f"max_{key}") is not None}
    if spec.get("target_latency") is not None:
        budget["latency_ms"] = spec["target_latency"]
    ratio = spec.get("prune_ratio")
    target: float | Budget
    if budget and ratio is None:
        target = Budget(**budget)
    elif ratio is not None and not budget:
        target = float(ratio)
        check_ratio(target)
    else:
        raise PlanError(
            "Say what to prune to: either --prune-ratio, or --max-params, --max-gflops and --target-latency."
        )
    return PlanArguments(
        target=target,
        settings=SolverSettings(
            protect_residual=bool(spec.get("protect_residual")),
            floor=given(spec, "floor", DEFAULT_FLOOR),
            floor_share=given(spec, "floor_share", 0.0),
            scope=given(spec, "scope", "global"),
            round_to=given(spec, "round_to", 1),
            layer_ratios=tuple(_layer_ratios(spec)),
        ),
        importance=ImportanceSettings(
            criterion=given(spec, "criterion", "gamma"),
            aggregate=given(spec, "aggregate", "mean"),
            per_layer=bool(spec.get("per_layer")),
            per_flop=bool(spec.get("per_flop")),
            seed=given(spec, "seed", 0),
            sensitivity=_factors(spec),
        ),
        imgsz=as_size(given(spec, "imgsz", 640)),
    )


def _factors(spec: Spec) -> tuple[tuple[str, float], ...]:
    """Return the factors of a measured sensitivity, none where no file is given."""
    if not spec.get("sensitivity"):
        return ()
    from engine.validation.impact import read_factors

    return read_factors(spec["sensitivity"])


def _layer_ratios(spec: Spec) -> Iterator[tuple[str, float]]:
    locked = tuple(spec.get("lock") or ())
    for name in locked:
        yield name, 0.0
    for pair in spec.get("layer_ratio") or ():
        name, _, ratio = str(pair).partition("=")
        if name in locked:
            raise PlanError(f"{name} is locked and has a ratio of its own; keep one of the two.")
        try:
            yield name, float(ratio)
        except ValueError as error:
            raise PlanError(f"{pair!r} is no layer ratio; write NAME=RATIO, such as model.0.bn=0.3.") from error


def recalibration_images(spec: Spec, checkpoint: Checkpoint) -> list[Path]:
    """Return the first ``recalibrate`` training images of the data set, none where no recalibration is asked for."""
    count = given(spec, "recalibrate", 0)
    if count < 0:
        raise PlanError(f"Recalibration cannot use {count} images; a few dozen are enough.")
    if not count:
        return []
    if spec.get("data") is None:
        raise PlanError("Recalibration needs a data set; choose one (--data).")
    from engine.datasets import check_dataset, training_images
    from engine.datasets.facts import require_images

    info = check_dataset(spec["data"])
    require_images(checkpoint, info)
    return training_images(info, count)
