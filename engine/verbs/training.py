"""train, sparsify and finetune."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from engine.base import numbers
from engine.base.errors import StopRequested, StorageError, TrainingError
from engine.base.events import Report, status_event
from engine.base.tasks import TASKS
from engine.settings.arguments import merged_arguments
from engine.settings.results import Artefact, DataFit, MeasuredRole, SparsityUsed, TrainingResult
from engine.verbs.common import (
    Spec,
    given,
    measurements,
    required,
    resolve_weights,
    starting_point,
    told_fit,
)

_VERBS = {"trained": "train", "sparse": "sparsify", "finetuned": "finetune"}
"Kind of what comes out -> what makes it."


def train(spec: Spec, report: Report) -> TrainingResult:
    """Plain Ultralytics training, without any penalty.

    Raises:
        TrainingError: A penalty is asked for; its strength ``sr`` may be 0 alone, which says that there is none.
    """
    check_no_penalty(spec)
    return _train(spec, report, kind="trained", defaults={"epochs": 100, "lr0": 0.01})


def check_no_penalty(spec: Spec) -> None:
    """Refuse a penalty in a plain training.

    Raises:
        TrainingError: Its strength is not 0.
    """
    if spec.get("sr"):
        raise TrainingError(
            f"Plain training has no penalty (sr is {spec['sr']:g}); use sparse training (sparsify), or an sr of 0."
        )


def sparsify(spec: Spec, report: Report) -> TrainingResult:
    """Training that drives the gammas of unimportant channels to zero."""
    return _train(spec, report, kind="sparse", defaults={"epochs": 50, "lr0": 0.01}, sparsity=sparsity_settings(spec))


def sparsity_settings(spec: Spec) -> Any:
    """Read the options of sparse training from a specification and return ``SparsitySettings``.

    Raises:
        TrainingError: An option is out of range, or does nothing with the chosen method.
    """
    from engine.base.imgsz import as_size
    from engine.pruning.solver import Budget
    from engine.training.sparsity import SparsitySettings

    method = spec.get("method") or ("proximal" if spec.get("sr") is not None else "targeted")
    targets, penalty = ("prune_ratio", "max_params", "max_gflops"), ("sr", "schedule", "sr_warmup")
    for key in penalty if method == "targeted" else targets:
        if spec.get(key) is not None:
            raise TrainingError(
                f"--{key.replace('_', '-')} does nothing with the {method} method; leave it out, or choose another "
                "--method."
            )
    budget = {name: spec[f"max_{name}"] for name in ("params", "gflops") if spec.get(f"max_{name}") is not None}
    if budget and spec.get("prune_ratio") is not None:
        raise TrainingError("Say either a --prune-ratio or a budget (--max-params, --max-gflops), not both.")
    return SparsitySettings(
        method=method,
        ratio=given(spec, "prune_ratio", 0.5),
        budget=Budget(**budget) if budget else None,
        budget_imgsz=as_size(given(spec, "budget_imgsz", 640)),
        strength=given(spec, "sr", 0.01),
        schedule=given(spec, "schedule", "constant"),
        warmup=given(spec, "sr_warmup", 0.0),
    )


def finetune(spec: Spec, report: Report) -> TrainingResult:
    """Training of a pruned model: it keeps its shape; lower learning rate, cosine schedule."""
    return _train(spec, report, kind="finetuned", defaults={"epochs": 50, "lr0": 0.005, "cos_lr": True})


@dataclass(frozen=True)
class _Order:
    """A run that was checked and can begin."""

    spec: Spec
    settings: Any
    "``TrainSettings``; the data set's own description, not yet the run's copy."
    task: str
    dataset: Any
    lineage: dict[str, Any]
    reference: str | None
    fit: DataFit | None


def _train(spec: Spec, report: Report, *, kind: str, defaults: dict[str, Any], sparsity: Any = None) -> TrainingResult:
    from engine.base.runtime import import_ultralytics

    import_ultralytics()
    order = _checked(spec, report, kind, defaults, sparsity)
    settings, result = _run(order, report)
    return _told(order, settings, result, kind, report)


def _checked(spec: Spec, report: Report, kind: str, defaults: dict[str, Any], sparsity: Any) -> _Order:
    """Return the run that is asked for; refuses what cannot work before anything is written."""
    from engine.base.devices import check_device, default_device
    from engine.base.files import require_free_space
    from engine.base.imgsz import model_stride, told_imgsz
    from engine.base.runtime import import_ultralytics
    from engine.checkpoints.checkpoint import open_checkpoint
    from engine.datasets import check_dataset
    from engine.training import training_bytes
    from engine.validation.checks import check_task

    spec, extra = merged_arguments(spec, _VERBS[kind])
    weights, task, imgsz = starting_point(spec["weights"], scratch_allowed=kind == "trained")
    check_task(task)
    check_device(given(spec, "device", default_device()))
    save_dir = Path(spec["save_dir"])
    if save_dir.resolve() in Path(weights).resolve().parents:
        raise TrainingError(f"{weights} lies inside {save_dir}, which training would overwrite; choose another folder.")
    source = open_checkpoint(weights) if weights.endswith(".pt") else None
    module = source.model if source else import_ultralytics().YOLO(weights).model
    imgsz = told_imgsz(given(spec, "imgsz", imgsz), model_stride(module), report)
    lineage = _lineage(source)
    teacher = _teacher(spec["teacher"], task, lineage) if _distils(spec, task, report) else None
    reference = str(_opened(spec["reference"], task).path.resolve()) if spec.get("reference") else None
    if spec.get("resume") and not save_dir.exists():
        raise TrainingError(f"There is no run in {save_dir} to go on with; check --save-dir, or leave --resume out.")
    dataset = check_dataset(required(spec, "data"), task)
    extra, fit = _fitted(source, dataset, spec, extra)
    require_free_space(save_dir, training_bytes(sum(p.numel() for p in module.parameters())))
    for problem in dataset.problems:
        report(status_event(f"Data set: {problem}"))
    decided = {"weights": weights, "data": dataset.yaml_path, "imgsz": imgsz, "teacher": teacher, "extra": extra}
    settings = run_settings(spec, defaults, sparsity, **decided)
    return _Order(spec, settings, task, dataset, lineage, reference, told_fit(fit, report) if fit else None)


def run_settings(spec: Spec, defaults: dict[str, Any], sparsity: Any, **decided: Any) -> Any:
    """Return the ``TrainSettings`` of a specification and of what was decided already."""
    from engine.base.devices import default_device
    from engine.training import TrainSettings

    return TrainSettings(
        **decided,
        save_dir=Path(spec["save_dir"]),
        epochs=given(spec, "epochs", defaults["epochs"]),
        batch=given(spec, "batch", 16),
        device=given(spec, "device", default_device()),
        optimizer=given(spec, "optimizer", "SGD"),
        lr0=given(spec, "lr0", defaults["lr0"]),
        cos_lr=given(spec, "cos_lr", defaults.get("cos_lr", False)),
        nbs=given(spec, "nbs", 64),
        workers=given(spec, "workers", 2),
        seed=given(spec, "seed", 0),
        # Accuracy falls while channels fade, so a sparse run that stops early stops before it is sparse.
        patience=given(spec, "patience", 0 if sparsity else 100),
        sparsity=sparsity,
        resume=bool(spec.get("resume")),
        processes=given(spec, "processes", 1),
        tracker=tuple(given(spec, "tracker", ())),
    )


def _run(order: _Order, report: Report) -> tuple[Any, Any]:
    """Train; return the settings that held and the ``TrainResult``. A run that is refused leaves no folder."""
    from engine.datasets import resolved_yaml
    from engine.training import named_fields, resumed_settings, run_training, with_batch

    save_dir = order.settings.save_dir
    is_new = not save_dir.exists()
    save_dir.mkdir(parents=True, exist_ok=True)
    try:
        settings = replace(order.settings, data=resolved_yaml(order.dataset, save_dir))
        if settings.resume:
            digest = str(order.lineage["parent"] or settings.weights)
            settings = resumed_settings(settings, named_fields(order.spec), digest)
        settings = with_batch(settings, order.task, report)
        return settings, run_training(settings, order.task, report)
    except StopRequested:
        raise  # the folder says what was begun, and can be gone on with
    except Exception:
        if is_new and not any(save_dir.glob("weights/*.pt")):  # refused before there was anything to keep
            shutil.rmtree(save_dir, ignore_errors=True)
        raise


def _told(order: _Order, settings: Any, result: Any, kind: str, report: Report) -> TrainingResult:
    """Write into the checkpoints how they were made, compare a fine-tuned one, and return what the verb tells."""
    from engine.checkpoints.checkpoint import record_made

    sparsity = asdict(settings.sparsity) if settings.sparsity else None
    made = {"teacher": settings.teacher, "epochs": settings.epochs, "imgsz": settings.imgsz, "sparsity": sparsity}
    for path in (result.best, result.last):
        record_made(path, {"verb": kind, **order.lineage, **made})
    # The best epoch of a sparse run is an early one, so it is the least sparse; what it worked towards is the last.
    chosen, metrics = (result.last, result.last_metrics) if sparsity else (result.best, result.metrics)
    suffix = f"stopped after epoch {result.epochs_done}" if result.stopped else None
    artefact = Artefact(path=str(chosen), kind=kind, is_model=True, suffix=suffix)
    # The files are final from here on: what is measured now is found by their digests.
    compared: Sequence[MeasuredRole] = ()
    if kind == "finetuned" and not result.stopped:
        compared = _comparison(order.spec, settings, chosen, order.reference, report)
        # The trainer validates in other batches; one model shows the same numbers wherever it is looked at.
        metrics = next((row.metrics for row in compared if row.role == "child"), metrics)
    return TrainingResult(
        best=str(result.best),
        last=str(result.last),
        save_dir=str(settings.save_dir),
        params=result.params,
        imgsz=settings.imgsz,
        fit=order.fit,
        epochs_done=result.epochs_done,
        stopped=result.stopped,
        optimizer=settings.optimizer,
        lr0=settings.lr0,
        batch=settings.batch,
        ultralytics=settings.extra,
        sparsity=SparsityUsed(**sparsity) if sparsity else None,
        metrics=metrics,
        comparison=tuple(compared),
        artefacts=(artefact,),
    )


def _fitted(source: Any, dataset: Any, spec: Spec, extra: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return Ultralytics' further arguments, and how the model and the data set go together; None for a YAML.

    A model that was trained with all classes counted as one goes on so, unless the arguments say otherwise.

    Raises:
        TrainingError: They do not, or the teacher sees other images than the data set has.
    """
    from engine.datasets.facts import checkpoint_facts, training_fit
    from engine.datasets.fit import REFUSED

    if source is None:
        return extra, None
    extra = {**({"single_cls": True} if source.single_cls else {}), **extra}
    fit = training_fit(source, dataset, single_cls=bool(extra.get("single_cls")))
    if fit.verdict == REFUSED:
        raise TrainingError(fit.sentence)
    if spec.get("teacher"):
        teacher = checkpoint_facts(_opened(spec["teacher"], source.task))
        if teacher.channels != dataset.channels:
            taken = numbers.image_channels(teacher.channels)
            raise TrainingError(
                f"The teacher {teacher.name} takes images of {taken} and those of the data set have "
                f"{dataset.channels}; choose another teacher, or train without one."
            )
    return extra, fit


def _lineage(source: Any) -> dict[str, Any]:
    """Return the digests of the checkpoint that a run starts from and of those before it; nothing for a YAML."""
    if source is None:
        return {"parent": None, "ancestors": []}
    return {"parent": source.digest, "ancestors": [*source.ancestors, source.digest]}


def _opened(name: str, task: str) -> Any:
    """Open a checkpoint that shall serve a model of this task; raises CheckpointError or TrainingError."""
    from engine.checkpoints.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(resolve_weights(name))
    if checkpoint.task != task:
        raise TrainingError(f"{checkpoint.path.name} is a model for {checkpoint.task}, not for {task}; choose another.")
    return checkpoint


def _distils(spec: Spec, task: str, report: Report) -> bool:
    """Whether a run has a teacher; a step of a recipe, which serves every task, goes without where it cannot have one.

    Raises:
        TrainingError: A teacher was asked for, and Ultralytics distils no models of the task.
    """
    if not spec.get("teacher") or TASKS[task].boxes:
        return bool(spec.get("teacher"))
    why = "Ultralytics distils only models that find boxes, because it compares the inputs of their heads"
    if not spec.get("chain"):
        raise TrainingError(f"{why}; leave --teacher out for a model for {TASKS[task].words}.")
    report(status_event(f"Fine-tuning without a teacher: {why}"))
    return False


def _teacher(name: str, task: str, lineage: dict[str, Any]) -> str:
    """Return the path of a teacher that fits the student.

    Raises:
        TrainingError: It is the student itself, no ancestor of it as far as the student's file tells, or of another
            task.
        CheckpointError: It cannot be opened.
    """
    teacher, older = _opened(name, task), lineage["ancestors"][:-1]
    if teacher.digest == lineage["parent"]:
        raise TrainingError(f"{teacher.path.name} cannot teach itself; distil from the dense model it was pruned from.")
    if older and teacher.digest not in older:
        raise TrainingError(
            f"{teacher.path.name} is not what this model was made from, so its features mean something else; distil "
            "from the dense model that was pruned, or leave --teacher out."
        )
    return str(teacher.path.resolve())


def _comparison(spec: Spec, settings: Any, child: Path, reference: str | None, report: Report) -> list[MeasuredRole]:
    """Measure a fine-tuned model, what it started from and, where given, its dense reference on the same split."""
    from engine.training import compared_models

    roles = {"parent": settings.weights, "child": str(child)} | ({"reference": reference} if reference else {})
    try:
        cache = measurements(spec)
    except StorageError:  # the training is done: a workspace that cannot be read only means that all is measured
        cache = None
    return compared_models(roles, settings, Path(required(spec, "data")), cache, report)
