"""What a choice of images shows, as one digest: the same files with the same labels give the same one anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from engine.base.tasks import FOLDERS
from engine.datasets.check import label_files
from engine.datasets.folders import class_of
from engine.datasets.info import DatasetInfo


def content_digest(info: DatasetInfo, labelled: Sequence[Path], unlabelled: Sequence[Path] = ()) -> str:
    """Return the SHA-256 over the contents of images, the labels of the first of them, and the names of the classes."""
    digest = hashlib.sha256(repr(sorted(info.names.items())).encode())
    for path in (*labelled, *(label for label in label_files(info, labelled) if label.is_file()), *unlabelled):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    if info.label_kind == FOLDERS:  # the label of an image is where it lies
        digest.update(repr([class_of(info, path) for path in labelled]).encode())
    return digest.hexdigest()
