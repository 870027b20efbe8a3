"""Bring models into the workspace: uploads, official weights, pruned ones. A refused one leaves nothing behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from engine.base.files import expanded, require_free_space, safe_name, writing_to
from engine.base.numbers import ratio
from engine.base.runtime import compute_threads
from engine.checkpoints.child import Bounds, run_in_child
from engine.demo.shipped import open_demo
from engine.latency import table_path
from engine.pruning.planning import ProfilePlanner
from engine.pruning.profiling import profile_of_file
from engine.verbs.in_workspace import PRUNED
from engine.workspace.profiles import keep_profile
from engine.workspace.store import Model, Registered, Store

_CHUNK_BYTES = 1 << 20
_DOWNLOAD_S = 3600
_PRUNING = Bounds(memory_bytes=4_000_000_000, cpu_s=3600, wall_s=3600, output_bytes=4_000_000_000, confined=False)
"Of a model that was opened before; recalibration looks at images."
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
        asked = {"name": name, "folder": str(folder.absolute())}
        path, _ = run_in_child("engine.checkpoints.official:told_path", asked, name, bounds=None, wall_s=_DOWNLOAD_S)
        return _register(store, Path(path), Path(name).stem, Path(name).name, say)


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
    asked = {"weights": str(model.path.absolute()), "spec": spec, "workspace": str(store.folder.absolute())}
    with _folder_aside(store) as folder:
        told, _ = run_in_child(
            "engine.verbs.in_workspace:told_pruned",
            {**asked, "table": str(table_path(spec.get("threads") or compute_threads()).absolute())},
            model.name,
            bounds=_PRUNING,
            scratch=folder,
        )
        registered = store.register(
            folder / PRUNED,
            f"{model.name}, pruned {ratio(told['ratio_achieved'])}",
            "pruned",
            parent_id=model.id,
            made={"verb": "prune", "spec": told["spec"], "ratio_achieved": told["ratio_achieved"]},
            params=told["params"],
        )
    return _said(registered, say)


def _said(registered: Registered, say: Say) -> Model:
    if registered.sentence:
        say(registered.sentence)
    return registered.model


def _register(store: Store, path: Path, name: str, file: str, say: Say) -> Model:
    profile = profile_of_file(path)
    ProfilePlanner(profile)  # refuses what cannot be pruned
    made = {"verb": "import", "file": file}
    registered = store.register(path, name, "imported", made=made, params=profile.facts.params)
    keep_profile(store, profile)
    return _said(registered, say)


@contextmanager
def _folder_aside(store: Store) -> Iterator[Path]:
    """Yield a folder in the workspace that is gone afterwards."""
    with writing_to(store.folder):
        aside = tempfile.TemporaryDirectory(dir=store.folder, prefix=".aside-", ignore_cleanup_errors=True)
    with aside as folder:
        yield Path(folder)
