"""Bring models into the workspace: uploads, official weights, pruned ones. A refused one leaves nothing behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from app.frame import session
from app.plan.latency import latency_costs
from engine.base.events import silent
from engine.base.files import expanded, require_free_space, safe_name, writing_to
from engine.base.numbers import ratio
from engine.checkpoints.official import fetch_official_weights
from engine.demo.shipped import open_demo
from engine.pruning.session import Slimming
from engine.pruning.solver import PrunePlan
from engine.settings.plan import RECALIBRATION_IMAGES
from engine.settings.requests import PruneRequest
from engine.validation.impact import recalibration_pays
from engine.verbs import plan_arguments, recalibration_images
from engine.verbs.scoring import with_scores
from engine.workspace.store import Model, Registered, Store

_CHUNK_BYTES = 1 << 20
Say = Callable[[str], None]
"Receives the sentence that tells which model a file is that was here already."


def _unsaid(sentence: str) -> None:
    pass


def add_upload(store: Store, name: str, size: int, stream: BinaryIO, say: Say = _unsaid) -> Model:
    """Register an uploaded checkpoint, once it has proved to be one that can be slimmed.

    Raises:
        CheckpointError, PlanError: It is not; the workspace is as it was.
        StorageError: The workspace has no room for it.
    """
    require_free_space(store.folder, 2 * size)
    given = Path(name)
    with _folder_aside(store) as folder:
        path = folder / f"{safe_name(given.stem)}{given.suffix.lower()}"
        with writing_to(folder), open(path, "wb") as file:
            shutil.copyfileobj(stream, file, _CHUNK_BYTES)
        return _register(store, path, given.stem, given.name, say)


def add_official(store: Store, name: str, say: Say = _unsaid) -> Model:
    """Register official weights such as yolov8n.pt, downloaded on first use, or the checkpoint at a path.

    Raises:
        CheckpointError: There is no such file or name, or it could not be downloaded.
    """
    name = str(expanded(name.strip()))
    with _folder_aside(store) as folder:
        path = fetch_official_weights(name, folder)
        return _register(store, path, Path(name).stem, Path(name).name, say)


def add_demo(store: Store, say: Say = _unsaid) -> Model:
    """Put the demo into the workspace and return its sparse-trained model, the one to start with."""
    demo = open_demo(store)
    if demo.note:
        say(demo.note)
    return demo.sparse


def prune_into(store: Store, model: Model, spec: dict[str, Any], say: Say = _unsaid) -> Model:
    """Write the model pruned by a specification into the workspace and register it as a child.

    Args:
        store: The workspace.
        model: What is pruned.
        spec: As the verb ``prune`` takes it, without weights and folder.
        say: As for the files that are brought in: the same cut may have been made before.

    Raises:
        PlanError, DatasetError, StorageError: As the verb.
    """
    request = PruneRequest.read({**spec, "weights": str(model.path), "workspace": str(store.folder)})
    opened, asked = session.slimming(model), plan_arguments(request)
    importance = with_scores(asked.importance, opened, request, silent)
    costs = latency_costs(opened, asked.imgsz) if asked.latency_ms is not None else None
    plan = opened.plan(asked.target, asked.settings, asked.imgsz, importance, costs)
    # Recorded as a number, so that the command that repeats the step needs no rule.
    rest = {key: value for key, value in spec.items() if key != "recalibrate"}
    count = _recalibrated_on(opened, plan, request)
    spec = {**rest, "recalibrate": count} if count else rest
    images = recalibration_images(request.model_copy(update={"recalibrate": count}), opened.checkpoint)
    preview = opened.describe(plan, asked.imgsz)
    made = {"verb": "prune", "spec": spec, "ratio_achieved": preview.ratio_achieved}
    with _folder_aside(store) as folder:
        path = opened.prune(
            asked.target,
            folder / "pruned.pt",
            asked.settings,
            imgsz=asked.imgsz,
            importance=importance,
            costs=costs,
            compensated=request.compensate,
            recalibration=images,
        )
        registered = store.register(
            path,
            f"{model.name}, pruned {ratio(preview.ratio_achieved)}",
            "pruned",
            parent_id=model.id,
            made=made,
            params=preview.params,
        )
    return _said(registered, say)


def _recalibrated_on(opened: Slimming, plan: PrunePlan, request: PruneRequest) -> int:
    """Return the images to recalibrate on: as asked, else as the curve behind the slider was measured."""
    if request.recalibrate is not None or request.data is None:
        return request.recalibrate or 0
    pays = recalibration_pays(opened.checkpoint.model, opened.graph, plan.keep, compensated=request.compensate)
    return RECALIBRATION_IMAGES if pays else 0


def _said(registered: Registered, say: Say) -> Model:
    if registered.sentence:
        say(registered.sentence)
    return registered.model


def _register(store: Store, path: Path, name: str, file: str, say: Say) -> Model:
    checkpoint = Slimming.open(path).checkpoint
    made = {"verb": "import", "file": file}
    return _said(store.register(path, name, "imported", made=made, params=checkpoint.params), say)


@contextmanager
def _folder_aside(store: Store) -> Iterator[Path]:
    """Yield a folder in the workspace that is gone afterwards."""
    with writing_to(store.folder):
        aside = tempfile.TemporaryDirectory(dir=store.folder, prefix=".aside-", ignore_cleanup_errors=True)
    with aside as folder:
        yield Path(folder)
