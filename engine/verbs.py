"""The verbs: a specification goes in, a result comes out. Terminal, jobs and pages run the same functions.

A specification is a plain dict whose keys are the terminal's long options with underscores. A result is a plain dict
with ``artefacts`` (files that were made) and ``metrics``. ``report`` receives events; see docs/architecture.md.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.errors import PlanError, TrainingError, WorkbenchError

Spec = dict[str, Any]
Result = dict[str, Any]
Report = Callable[[dict[str, Any]], None]

# Torch and Ultralytics take seconds to import, so the verbs import what they need when they run.


def inspect(spec: Spec, report: Report) -> Result:
    """Describe a checkpoint: task, classes, size, gammas of every layer."""
    import numpy as np

    from engine.gammas import collect_gammas, summarise_gammas
    from engine.slimming import Slimming

    slimming = Slimming.open(resolve_weights(spec["weights"]))
    checkpoint, imgsz = slimming.checkpoint, spec.get("imgsz") or 640
    layers = collect_gammas(checkpoint.model)
    prunable = {layer.name: (layer.prunable_channels, layer.reason) for layer in slimming.graph.layers}
    return {
        "weights": str(checkpoint.path),
        "task": checkpoint.task,
        "names": checkpoint.names,
        "trained_imgsz": checkpoint.imgsz,
        "params": checkpoint.params,
        "gflops": slimming.cost_model(imgsz).before.gflops,
        "imgsz": imgsz,
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


def preview(spec: Spec, report: Report) -> Result:
    """Say what pruning to a ratio or budget would give, without doing it."""
    from engine.slimming import Slimming

    plan = plan_arguments(spec)
    slimming = Slimming.open(resolve_weights(spec["weights"]))
    return slimming.preview(plan.target, plan.settings, plan.imgsz, plan.importance).as_dict()


def prune(spec: Spec, report: Report) -> Result:
    """Write SAVE_DIR/pruned.pt, a physically smaller model."""
    from engine.slimming import Slimming

    plan = plan_arguments(spec)
    slimming = Slimming.open(resolve_weights(spec["weights"]))
    path = Path(spec["save_dir"]) / "pruned.pt"
    if path.exists() and path.samefile(slimming.checkpoint.path):
        raise PlanError(f"{path} is the checkpoint to prune; choose another --save-dir so that it is not overwritten.")
    slimming.prune(
        plan.target,
        path,
        plan.settings,
        imgsz=plan.imgsz,
        importance=plan.importance,
        compensated=_given(spec, "compensate", True),
        recalibration=recalibration_images(spec),
    )
    result = slimming.preview(plan.target, plan.settings, plan.imgsz, plan.importance).as_dict()
    report(
        {
            "kind": "status",
            "text": f"Pruned {result['params_before']:,} -> {result['params']:,} parameters, "
            f"{result['gflops_before']:.1f} -> {result['gflops']:.1f} GFLOPs",
        }
    )
    artefact = {"path": str(path), "kind": "pruned", "register": True}
    return {"pruned": str(path), "artefacts": [artefact], "metrics": {}, **result}


def train(spec: Spec, report: Report) -> Result:
    """Plain Ultralytics training, without any penalty."""
    return _train(spec, report, kind="trained", defaults={"epochs": 100, "lr0": 0.01})


def sparsify(spec: Spec, report: Report) -> Result:
    """Training that drives the gammas of unimportant channels to zero."""
    from engine.sparsity import SparsitySettings

    strength = spec.get("sr")
    method = spec.get("method") or ("proximal" if strength is not None else "targeted")
    ratio = spec.get("prune_ratio")
    idle = ("sr", "schedule") if method == "targeted" else ("prune_ratio",)
    for key in idle:
        if spec.get(key) is not None:
            raise TrainingError(
                f"--{key.replace('_', '-')} does nothing with the {method} method; leave it out, or choose another "
                "--method."
            )
    sparsity = SparsitySettings(
        method=method,
        ratio=0.5 if ratio is None else ratio,
        strength=0.01 if strength is None else strength,
        schedule=spec.get("schedule") or "constant",
    )
    return _train(spec, report, kind="sparse", defaults={"epochs": 50, "lr0": 0.01}, sparsity=sparsity)


def finetune(spec: Spec, report: Report) -> Result:
    """Training of a pruned model: it keeps its shape; lower learning rate, cosine schedule."""
    return _train(spec, report, kind="finetuned", defaults={"epochs": 50, "lr0": 0.005, "cos_lr": True})


def _train(spec: Spec, report: Report, *, kind: str, defaults: dict[str, Any], sparsity: Any = None) -> Result:
    from engine.runtime import import_ultralytics

    import_ultralytics()
    from engine.datasets import check_dataset, resolved_yaml
    from engine.files import require_free_space
    from engine.training import TRAINING_BYTES, TrainSettings, check_device, check_task, default_device, run_training

    weights, task, imgsz = _starting_point(spec["weights"], scratch_allowed=kind == "trained")
    check_task(task)
    check_device(_given(spec, "device", default_device()))
    save_dir = Path(spec["save_dir"])
    if save_dir.resolve() in Path(weights).resolve().parents:
        raise TrainingError(f"{weights} lies inside {save_dir}, which training would overwrite; choose another folder.")
    dataset = check_dataset(_required(spec, "data"))
    require_free_space(save_dir, TRAINING_BYTES)
    is_new = not save_dir.exists()
    save_dir.mkdir(parents=True, exist_ok=True)
    for problem in dataset.problems:
        report({"kind": "status", "text": f"Data set: {problem}"})
    settings = TrainSettings(
        weights=weights,
        data=resolved_yaml(dataset, save_dir),
        save_dir=save_dir,
        epochs=_given(spec, "epochs", defaults["epochs"]),
        imgsz=_given(spec, "imgsz", imgsz),
        batch=_given(spec, "batch", 16),
        device=_given(spec, "device", default_device()),
        optimizer=_given(spec, "optimizer", "SGD"),
        lr0=_given(spec, "lr0", defaults["lr0"]),
        cos_lr=defaults.get("cos_lr", False),
        workers=_given(spec, "workers", 2),
        seed=_given(spec, "seed", 0),
        # Accuracy falls while channels fade, so a sparse run that stops early stops before it is sparse.
        patience=_given(spec, "patience", 0 if sparsity else 100),
        sparsity=sparsity,
    )
    try:
        result = run_training(settings, task, report)
    except WorkbenchError:
        if is_new and not any(save_dir.glob("weights/*.pt")):  # refused before there was anything to keep
            shutil.rmtree(save_dir, ignore_errors=True)
        raise
    # The best epoch of a sparse run is an early one, so it is the least sparse; what it worked towards is the last.
    chosen, metrics = (result.last, result.last_metrics) if sparsity else (result.best, result.metrics)
    return {
        "best": str(result.best),
        "last": str(result.last),
        "save_dir": str(save_dir),
        "params": result.params,
        "epochs_done": result.epochs_done,
        "stopped": result.stopped,
        "optimizer": settings.optimizer,
        "lr0": settings.lr0,
        "sparsity": asdict(sparsity) if sparsity else None,
        "metrics": metrics,
        "artefacts": [{"path": str(chosen), "kind": kind, "register": True}],
    }


def val(spec: Spec, report: Report) -> Result:
    """Measure mAP, precision and recall on a split of a data set."""
    from engine.runtime import import_ultralytics

    import_ultralytics()
    from engine.evaluation import validate
    from engine.training import check_task, default_device

    weights, task, imgsz = _starting_point(spec["weights"], scratch_allowed=False)
    check_task(task)
    validation = validate(
        Path(weights),
        Path(_required(spec, "data")),
        imgsz=_given(spec, "imgsz", imgsz),
        batch=_given(spec, "batch", 16),
        device=_given(spec, "device", default_device()),
        split=_given(spec, "split", "val"),
        report=report,
    )
    return {"weights": weights, "artefacts": [], **validation.as_dict()}


def export(spec: Spec, report: Report) -> Result:
    """Write SAVE_DIR/NAME.onnx, checked and compared with the PyTorch model."""
    from engine.runtime import import_ultralytics

    import_ultralytics()
    from engine.export import export_onnx

    weights, _, imgsz = _starting_point(spec["weights"], scratch_allowed=False)
    path = Path(spec["save_dir"]) / f"{spec.get('name') or Path(weights).stem}.onnx"
    exported = export_onnx(
        Path(weights),
        imgsz=_given(spec, "imgsz", imgsz),
        save_path=path,
        opset=spec.get("opset"),
        dynamic=bool(spec.get("dynamic")),
        simplify=_given(spec, "simplify", True),
        report=report,
    ).as_dict()
    return {"onnx": str(path), "artefacts": [{"path": str(path), "kind": "onnx"}], "metrics": {}, **exported}


VERBS: dict[str, Callable[[Spec, Report], Result]] = {
    "inspect": inspect,
    "preview": preview,
    "prune": prune,
    "train": train,
    "sparsify": sparsify,
    "finetune": finetune,
    "val": val,
    "export": export,
}


def run_verb(verb: str, spec: Spec, report: Report = lambda event: None) -> Result:
    """Run a verb.

    Raises:
        WorkbenchError: Something that the person can mend; the message says what and how.
        StopRequested: ``report`` raised it and the verb had nothing to keep.
    """
    from engine.runtime import import_ultralytics

    if verb not in VERBS:
        raise WorkbenchError(f"There is no verb {verb!r}; the verbs are {', '.join(VERBS)}.")
    _required(spec, "weights")
    import_ultralytics()
    return VERBS[verb](spec, report)


def resolve_weights(name: str) -> Path:
    """Return the path of a checkpoint given by path, or by an official name, which is downloaded on first use."""
    path = Path(name).expanduser()
    if path.exists():
        return path
    from engine.official import fetch_official_weights, is_official_name

    return fetch_official_weights(name, Path.cwd()) if is_official_name(name) else path


def _starting_point(name: str, *, scratch_allowed: bool) -> tuple[str, str, int]:
    """Return (weights for Ultralytics, task, image size) of a checkpoint, or of a model YAML to train from scratch."""
    if scratch_allowed and str(name).endswith((".yaml", ".yml")):
        import yaml
        from ultralytics.nn.tasks import guess_model_task, yaml_model_load

        try:
            return str(name), guess_model_task(yaml_model_load(name)), 640
        except FileNotFoundError as error:
            raise TrainingError(f"There is no model description {name}; yolov8n.yaml is one that works.") from error
        except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            raise TrainingError(f"{name} is no model description; yolov8n.yaml is one that works.") from error
    from engine.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(resolve_weights(name))
    return str(checkpoint.path.resolve()), checkpoint.task, checkpoint.imgsz


@dataclass(frozen=True)
class PlanArguments:
    """What a plan is made from."""

    target: Any
    "A ratio or a ``Budget``."
    settings: Any
    importance: Any
    imgsz: int


def plan_arguments(spec: Spec) -> PlanArguments:
    """Read the options that decide a plan from a specification.

    Raises:
        PlanError: An option is out of range, or there is no ratio and no budget, or both.
    """
    from engine.importance import ImportanceSettings
    from engine.solver import DEFAULT_FLOOR, Budget, SolverSettings, check_ratio

    budget = {key: spec[f"max_{key}"] for key in ("params", "gflops") if spec.get(f"max_{key}") is not None}
    ratio = spec.get("prune_ratio")
    if (ratio is None) == (not budget):
        raise PlanError("Say what to prune to: either --prune-ratio, or --max-params and --max-gflops.")
    if ratio is not None:
        check_ratio(float(ratio))
    return PlanArguments(
        target=Budget(**budget) if budget else float(ratio),
        settings=SolverSettings(
            protect_residual=bool(spec.get("protect_residual")),
            floor=_given(spec, "floor", DEFAULT_FLOOR),
            floor_share=_given(spec, "floor_share", 0.0),
            scope=_given(spec, "scope", "global"),
            round_to=_given(spec, "round_to", 1),
            layer_ratios=tuple(_layer_ratios(spec)),
        ),
        importance=ImportanceSettings(
            criterion=_given(spec, "criterion", "gamma"),
            aggregate=_given(spec, "aggregate", "mean"),
            per_layer=bool(spec.get("per_layer")),
            per_flop=bool(spec.get("per_flop")),
            seed=_given(spec, "seed", 0),
        ),
        imgsz=_given(spec, "imgsz", 640),
    )


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


def recalibration_images(spec: Spec) -> list[Path]:
    """Return the first ``recalibrate`` training images of the data set, none where no recalibration is asked for."""
    count = _given(spec, "recalibrate", 0)
    if count < 0:
        raise PlanError(f"Recalibration cannot use {count} images; a few dozen are enough.")
    if not count:
        return []
    if spec.get("data") is None:
        raise PlanError("Recalibration needs a data set; choose one (--data).")
    from engine.datasets import check_dataset, image_files

    return image_files(check_dataset(spec["data"]), "train")[:count]


def _given(spec: Spec, key: str, default: Any) -> Any:
    return default if spec.get(key) is None else spec[key]


def _required(spec: Spec, key: str) -> Any:
    if spec.get(key) is None:
        raise WorkbenchError(f"--{key.replace('_', '-')} is missing; say it on the command line.")
    return spec[key]


__all__ = [
    "VERBS",
    "PlanArguments",
    "plan_arguments",
    "recalibration_images",
    "resolve_weights",
    "run_verb",
]
