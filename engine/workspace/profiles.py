"""The profiles of a workspace's models, each in a file named by the digest of the checkpoint.

They are made in a child process that opens the checkpoint, once for each content, and read in milliseconds afterwards.
One that is damaged, or of another version, is made again.
"""

from __future__ import annotations

import contextlib
from functools import lru_cache
from pathlib import Path

from engine.base.arrays import read_arrays, write_arrays
from engine.base.documents import DocumentError
from engine.base.errors import CheckpointError, StorageError
from engine.base.files import atomic_path
from engine.base.imgsz import ImageSize
from engine.checkpoints.child import ChildLost
from engine.profile.profile import Profile, SizeCounts, packed, unpacked
from engine.pruning.profiling import count_file, profile_of_file
from engine.workspace.store import Model, Store

FOLDER = "profiles"
"Of a workspace."
MOST_BYTES = 256 << 20
"Of a profile; that of YOLOv8x has some megabytes."


def profile_path(store: Store, digest: str) -> Path:
    """Return where the profile of a checkpoint lies, by its SHA-256."""
    return store.folder / FOLDER / f"{digest}.npz"


def profile_of(store: Store, model: Model) -> Profile:
    """Return the profile of a model: as the workspace keeps it, else made now and kept.

    Raises:
        CheckpointError: The file is gone or cannot be opened, and no profile is kept.
    """
    if kept := kept_profile(store, model.digest):
        return kept
    if not model.path.is_file():
        raise CheckpointError(f"The file of {model.name} is gone; choose another model.")
    made = _made_once(model.path, model.path.stat().st_mtime_ns)
    if isinstance(made, CheckpointError):
        raise made
    if made.facts.digest == model.digest:  # else it was changed by hand since it was registered
        keep_profile(store, made)
    return made


@lru_cache(maxsize=64)
def _made_once(path: Path, changed_ns: int) -> Profile | CheckpointError:
    """Return the profile of a file, or why there is none: a page asks again at every look.

    Raises:
        ChildLost: It is not the file's fault, so the next look tries again.
    """
    try:
        return profile_of_file(path)
    except ChildLost:
        raise
    except CheckpointError as error:
        return error


def kept_profile(store: Store, digest: str) -> Profile | None:
    """Return the profile that is kept of a checkpoint, by its SHA-256; None where there is none that can be read."""
    try:
        profile = unpacked(*read_arrays(profile_path(store, digest), MOST_BYTES))
    except (OSError, DocumentError, StorageError):
        return None
    return profile if profile.facts.digest == digest else None


def keep_profile(store: Store, profile: Profile) -> None:
    """Keep a profile; where the workspace cannot be written, it is made again the next time."""
    with contextlib.suppress(StorageError), atomic_path(profile_path(store, profile.facts.digest)) as aside:
        write_arrays(aside, *packed(profile))


def count_model(store: Store, model: Model, imgsz: ImageSize) -> SizeCounts:
    """Return what a model computes at an image size that its profile does not have, and keep it with the profile.

    Raises:
        CheckpointError: The file is gone or cannot be opened.
    """
    if not model.path.is_file():
        raise CheckpointError(f"The file of {model.name} is gone; choose another model.")
    counts = count_file(model.path, imgsz)
    if kept := kept_profile(store, model.digest):
        keep_profile(store, kept.with_size(counts))
    return counts
