"""What a checkpoint file tells of itself: size, cost, classes, and the accuracy that its training recorded.

A workspace keeps it by the file's digest, so that a checkpoint is opened once for it, and its record still tells what
it was after the file is gone.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.base.errors import CheckpointError, PlanError, StorageError
from engine.base.imgsz import model_stride
from engine.base.numbers import GFLOPS_IMGSZ
from engine.base.tasks import SHOWN, main_metric
from engine.datasets.fit import ModelFacts
from engine.workspace.store import Model, Store

if TYPE_CHECKING:
    from engine.checkpoints.checkpoint import Checkpoint


@dataclass(frozen=True)
class TrainingConditions:
    """What a training validated on, as far as it is recorded."""

    data: str
    "Digest of the description, or its path where it is gone."
    imgsz: int
    "Pixels."

    def __str__(self) -> str:
        return f"by its own training at {self.imgsz} px"


@dataclass(frozen=True)
class RecordedScore:
    """The accuracy that a model's record or its file tells."""

    metrics: dict[str, float]
    conditions: TrainingConditions | None
    "None where they are not recorded."


@dataclass(frozen=True)
class FileFacts:
    """What a checkpoint file tells of itself."""

    digest: str
    task: str
    names: dict[int, str]
    trained_imgsz: int
    "Pixels."
    params: int
    gflops: float | None
    "At GFLOPS_IMGSZ; None where the model does not run at that size."
    size_mb: float
    "1 MB is 1,000,000 bytes."
    stride: int
    "What image sizes are multiples of, in pixels."
    fitting: ModelFacts
    "What a data set has to fit."
    told: RecordedScore
    "Its metrics are empty where the file tells no accuracy."


_TOLD = {field.name for field in fields(FileFacts)}


def read_facts(path: Path) -> FileFacts:
    """Open a checkpoint and count it. Raises CheckpointError where it cannot be opened."""
    from engine.checkpoints.checkpoint import open_checkpoint
    from engine.datasets.facts import checkpoint_facts
    from engine.validation.size import size_of_checkpoint

    checkpoint = open_checkpoint(path)
    try:
        gflops = size_of_checkpoint(checkpoint, GFLOPS_IMGSZ).gflops
    except PlanError:
        gflops = None
    return FileFacts(
        digest=checkpoint.digest,
        task=checkpoint.task,
        names=checkpoint.names,
        trained_imgsz=checkpoint.imgsz,
        params=checkpoint.params,
        gflops=gflops,
        size_mb=path.stat().st_size / 1e6,
        stride=model_stride(checkpoint.model),
        fitting=checkpoint_facts(checkpoint),
        told=file_score(checkpoint),
    )


def facts_of(store: Store, model: Model) -> FileFacts:
    """Return what a model's file tells: as the workspace keeps it, else read once and kept.

    Raises:
        CheckpointError: The file is gone or cannot be opened, and nothing is kept of it.
    """
    return _kept(store, [model]).get(model.digest) or _read_and_keep(store, model)


def known_facts(store: Store, models: Iterable[Model]) -> dict[str, FileFacts]:
    """Return digest -> what the file tells, without those that are gone or cannot be opened and of which none is kept.

    What is not kept yet is read, about a second a file, and kept.
    """
    models = list(models)
    facts = _kept(store, models)
    for model in models:
        if model.digest not in facts:
            with contextlib.suppress(OSError, CheckpointError, StorageError):
                facts[model.digest] = _read_and_keep(store, model)
    return facts


def _kept(store: Store, models: Iterable[Model]) -> dict[str, FileFacts]:
    """Return digest -> what is kept, without what another version kept, which told something else."""
    kept = store.file_facts(model.digest for model in models)
    return {digest: _from_json(digest, each) for digest, each in kept.items() if {"digest", *each} == _TOLD}


def _read_and_keep(store: Store, model: Model) -> FileFacts:
    if not model.path.is_file():
        raise CheckpointError(f"The file of {model.name} is gone; choose another model.")
    facts = _read_once(model.path, model.path.stat().st_mtime_ns)
    if isinstance(facts, CheckpointError):
        raise facts
    if facts.digest == model.digest:  # else it was changed by hand since it was registered
        store.keep_file_facts(facts.digest, _to_json(facts))
    return facts


@lru_cache(maxsize=256)
def _read_once(path: Path, changed_ns: int) -> FileFacts | CheckpointError:
    """Return what a file tells, or why it cannot: a page asks again at every look."""
    try:
        return read_facts(path)
    except CheckpointError as error:
        return error


def _to_json(facts: FileFacts) -> dict[str, Any]:
    return {key: value for key, value in asdict(facts).items() if key != "digest"}


def _from_json(digest: str, kept: Mapping[str, Any]) -> FileFacts:
    told = kept["told"]
    conditions = TrainingConditions(**told["conditions"]) if told["conditions"] else None
    lists = {key: tuple(value) for key, value in kept["fitting"].items() if isinstance(value, list)}
    read = {
        "names": {int(index): name for index, name in kept["names"].items()},
        "told": RecordedScore(told["metrics"], conditions),
        "fitting": ModelFacts(**{**kept["fitting"], **lists}),
    }
    return FileFacts(digest, **{**kept, **read})


def file_score(checkpoint: Checkpoint) -> RecordedScore:
    """Return the accuracy that a checkpoint tells of itself; its metrics are empty where it tells none."""
    trained = checkpoint.content.get("train_metrics") or {}
    trained = {str(key).removeprefix("metrics/").removesuffix("(B)"): value for key, value in trained.items()}
    metrics = scores_of(checkpoint.made.get("metrics") or {}) or scores_of(trained)
    arguments = checkpoint.content.get("train_args") or {}
    data, imgsz = (arguments.get(name) if isinstance(arguments, dict) else None for name in ("data", "imgsz"))
    if not data or not isinstance(imgsz, int):
        return RecordedScore(metrics, None)
    # A path alone says little, since most descriptions are called data.yaml; the classes say more.
    names = ", ".join(checkpoint.names.values())
    return RecordedScore(metrics, TrainingConditions(f"{data_identity(data)} {names}", imgsz))


def scores_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the accuracies among metrics; empty without the one that models of the task are judged by."""
    scores = {name: float(metrics[name]) for name in SHOWN if isinstance(metrics.get(name), (int, float))}
    return scores if main_metric(scores) else {}


def data_identity(data: Any) -> str:
    """Return what tells data sets apart: every run keeps a copy of the same description in a folder of its own."""
    try:
        return hashlib.sha256(Path(str(data)).read_bytes()).hexdigest()
    except OSError:
        return str(data)
