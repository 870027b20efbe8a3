"""train, sparsify and finetune."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.base import numbers
from engine.base.errors import StopRequested, StorageError, TrainingError
from engine.base.events import Report, status_event
from engine.base.tasks import TASKS
from engine.settings.arguments import merged_request
from engine.settings.requests import FinetuneRequest, SparsifyRequest, TrainRequest
from engine.settings.results import Artefact, DataFit, SparsityUsed, TrainingResult
from engine.settings.training import Sparsity
from engine.verbs.common import chosen_device, measurements, resolve_weights, starting_point, told_fit

if TYPE_CHECKING:
    from engine.training import Compared, TrainSettings
    from engine.training.sparsity import SparsitySettings

TrainingRequest = TrainRequest | SparsifyRequest | FinetuneRequest
KEPT_START = (
    "No epoch was better than the model that training began with: best.pt is that model, unchanged; last.pt is the "
    "last epoch's."
)
_VERBS = {"trained": "train", "sparse": "sparsify", "finetuned": "finetune"}
"Kind of what comes out -> what makes it."


def train(request: TrainRequest, report: Report) -> TrainingResult:
    """Plain Ultralytics training, without any penalty."""
    return _train(request, report, kind="trained")


def sparsify(request: SparsifyRequest, report: Report) -> TrainingResult:
    """Training that drives the gammas of unimportant channels to zero."""
    return _train(request, report, kind="sparse", sparsity=sparsity_settings(request))


def finetune(request: FinetuneRequest, report: Report) -> TrainingResult:
    """Training of a pruned model: it keeps its shape; lower learning rate, cosine schedule."""
    return _train(request, report, kind="finetuned")


def sparsity_settings(request: Sparsity) -> SparsitySettings:
    """Return what sparse training aims at, and how.

    Raises:
        TrainingError: A setting does nothing with the chosen method, or there is both a ratio and a budget.
    """
    from engine.pruning.solver import Budget
    from engine.training.sparsity import SparsitySettings

    said = request.given
    method = said.get("method") or ("proximal" if "sr" in said else "targeted")
    for key in Sparsity.PENALTY if method == "targeted" else Sparsity.TARGETS:
        if key in said:
            raise TrainingError(
                f"--{key.replace('_', '-')} does nothing with the {method} method; leave it out, or choose another "
                "--method."
            )
    budget = {name: said[f"max_{name}"] for name in ("params", "gflops") if f"max_{name}" in said}
    if budget and "prune_ratio" in said:
        raise TrainingError("Say either a --prune-ratio or a budget (--max-params, --max-gflops), not both.")
    return SparsitySettings(
        method=method,
        ratio=request.prune_ratio,
        budget=Budget(**budget) if budget else None,
        budget_imgsz=request.budget_imgsz,
        strength=request.sr,
        schedule=request.schedule,
        warmup=request.sr_warmup,
    )


@dataclass(frozen=True)
class _Order:
    """A run that was checked and can begin."""

    request: TrainingRequest
    settings: TrainSettings
    "With the data set's own description, not yet the run's copy."
    task: str
    dataset: Any
    lineage: dict[str, Any]
    reference: str | None
    fit: DataFit | None


def _train(
    request: TrainingRequest, report: Report, *, kind: str, sparsity: SparsitySettings | None = None
) -> TrainingResult:
    from engine.base.runtime import import_ultralytics

    import_ultralytics()
    order = _checked(request, report, kind, sparsity)
    settings, result = _run(order, report)
    return _told(order, settings, result, kind, report)


def _checked(request: TrainingRequest, report: Report, kind: str, sparsity: SparsitySettings | None) -> _Order:
    """Return the run that is asked for; refuses what cannot work before anything is written."""
    from engine.base.devices import check_device
    from engine.base.files import require_free_space
    from engine.base.imgsz import model_stride, told_imgsz
    from engine.base.runtime import import_ultralytics
    from engine.checkpoints.checkpoint import open_checkpoint
    from engine.datasets import check_dataset
    from engine.training import training_bytes
    from engine.validation.checks import check_task

    request = merged_request(request, _VERBS[kind])
    weights, task, imgsz = starting_point(request.weights, scratch_allowed=kind == "trained")
    check_task(task)
    check_device(chosen_device(request))
    save_dir, teacher, reference = request.folder, None, None
    if save_dir.resolve() in Path(weights).resolve().parents:
        raise TrainingError(f"{weights} lies inside {save_dir}, which training would overwrite; choose another folder.")
    source = open_checkpoint(weights) if weights.endswith(".pt") else None
    module = source.model if source else import_ultralytics().YOLO(weights).model
    imgsz = told_imgsz(request.imgsz or imgsz, model_stride(module), report)
    lineage = _lineage(source)
    if isinstance(request, FinetuneRequest):
        teacher = _teacher(request, task, lineage, report)
        reference = str(_opened(request.reference, task).path.resolve()) if request.reference else None
    if request.resume and not save_dir.exists():
        raise TrainingError(f"There is no run in {save_dir} to go on with; check --save-dir, or leave --resume out.")
    dataset = check_dataset(request.data, task)
    extra, fit = _fitted(source, dataset, request)
    require_free_space(save_dir, training_bytes(sum(p.numel() for p in module.parameters())))
    for problem in dataset.problems:
        report(status_event(f"Data set: {problem}"))
    decided = {"weights": weights, "data": dataset.yaml_path, "imgsz": imgsz, "teacher": teacher, "extra": extra}
    settings = run_settings(request, sparsity, **decided)
    return _Order(request, settings, task, dataset, lineage, reference, told_fit(fit, report) if fit else None)


def run_settings(request: TrainingRequest, sparsity: SparsitySettings | None = None, **decided: Any) -> TrainSettings:
    """Return the settings of a run: what was decided already, and the rest as the request has it."""
    from engine.training import TrainSettings

    asked = {field.name for field in fields(TrainSettings)} & type(request).model_fields.keys()
    said = {name: getattr(request, name) for name in asked}
    own = {"save_dir": request.folder, "device": chosen_device(request), "sparsity": sparsity}
    return TrainSettings(**{**said, **own, **decided})


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
            settings = resumed_settings(settings, named_fields(order.request), digest)
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
    from engine.training import Compared

    sparsity = asdict(settings.sparsity) if settings.sparsity else None
    made = {"teacher": settings.teacher, "epochs": settings.epochs, "imgsz": settings.imgsz, "sparsity": sparsity}
    for path in (result.best, result.last):
        record_made(path, {"verb": kind, **order.lineage, **made})
    # The best epoch of a sparse run is an early one, so it is the least sparse; what it worked towards is the last.
    chosen, metrics = (result.last, result.last_metrics) if sparsity else (result.best, result.metrics)
    suffix = f"stopped after epoch {result.epochs_done}" if result.stopped else None
    artefact = Artefact(path=str(chosen), kind=kind, is_model=True, suffix=suffix)
    # The files are final from here on: what is measured now is found by their digests.
    if result.kept_start and not sparsity:
        report(status_event(KEPT_START))
    compared = Compared()
    if kind == "finetuned" and not result.stopped:
        compared = _comparison(order.request, settings, order.task, chosen, order.reference, report)
        # The trainer validates in other batches; one model shows the same numbers wherever it is looked at.
        metrics = next((row.metrics for row in compared.rows if row.role == "child"), metrics)
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
        comparison=compared.rows,
        verdicts=compared.verdicts,
        start=result.start,
        kept_start=result.kept_start,
        artefacts=(artefact,),
    )


def _fitted(source: Any, dataset: Any, request: TrainingRequest) -> tuple[dict[str, Any], Any]:
    """Return Ultralytics' further arguments, and how the model and the data set go together; None for a YAML.

    A model that was trained with all classes counted as one goes on so, unless the arguments say otherwise.

    Raises:
        TrainingError: They do not, or the teacher sees other images than the data set has.
    """
    from engine.datasets.facts import training_fit
    from engine.datasets.fit import REFUSED
    from engine.profile.describing import checkpoint_facts

    if source is None:
        return request.arguments, None
    extra = {**({"single_cls": True} if source.single_cls else {}), **request.arguments}
    fit = training_fit(source, dataset, single_cls=bool(extra.get("single_cls")))
    if fit.verdict == REFUSED:
        raise TrainingError(fit.sentence)
    if isinstance(request, FinetuneRequest) and request.teacher:
        teacher = checkpoint_facts(_opened(request.teacher, source.task))
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


def _wanted_teacher(request: FinetuneRequest, task: str, report: Report) -> str | None:
    """Return the teacher of a run; a step of a recipe, which serves every task, goes without where it cannot have one.

    Raises:
        TrainingError: A teacher was asked for, and Ultralytics distils no models of the task.
    """
    if not request.teacher or TASKS[task].boxes:
        return request.teacher
    why = "Ultralytics distils only models that find boxes, because it compares the inputs of their heads"
    if not request.chain:
        raise TrainingError(f"{why}; leave --teacher out for a model for {TASKS[task].words}.")
    report(status_event(f"Fine-tuning without a teacher: {why}"))
    return None


def _teacher(request: FinetuneRequest, task: str, lineage: dict[str, Any], report: Report) -> str | None:
    """Return the path of a teacher that fits the student, None where there is none.

    Raises:
        TrainingError: It is the student itself, no ancestor of it as far as the student's file tells, or of another
            task.
        CheckpointError: It cannot be opened.
    """
    name = _wanted_teacher(request, task, report)
    if name is None:
        return None
    teacher, older = _opened(name, task), lineage["ancestors"][:-1]
    if teacher.digest == lineage["parent"]:
        raise TrainingError(f"{teacher.path.name} cannot teach itself; distil from the dense model it was pruned from.")
    if older and teacher.digest not in older:
        raise TrainingError(
            f"{teacher.path.name} is not what this model was made from, so its features mean something else; distil "
            "from the dense model that was pruned, or leave --teacher out."
        )
    return str(teacher.path.resolve())


def _comparison(
    request: TrainingRequest, settings: TrainSettings, task: str, child: Path, reference: str | None, report: Report
) -> Compared:
    """Measure a fine-tuned model, what it started from and, where given, its dense reference on the same split."""
    from engine.training import compared_models

    roles = {"parent": settings.weights, "child": str(child)} | ({"reference": reference} if reference else {})
    try:
        cache = measurements(request)
    except StorageError:  # the training is done: a workspace that cannot be read only means that all is measured
        cache = None
    return compared_models(roles, settings, task, Path(request.data), cache, report)
