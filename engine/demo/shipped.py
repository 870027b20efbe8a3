"""The demo: two checkpoints that ship with the workbench and the data set they were trained on, drawn on the spot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.base.errors import StorageError
from engine.base.runtime import REPOSITORY
from engine.demo.dataset import make_demo_dataset
from engine.workspace.store import Model, Store

DENSE = REPOSITORY / "demo" / "yolov8n-harbour.pt"
"Trained from scratch on the demo set; see ``python -m engine.demo.make``."
SPARSE = REPOSITORY / "demo" / "yolov8n-harbour-sparse.pt"
"The same after sparse training."


@dataclass(frozen=True)
class Demo:
    """The demo as it stands in a workspace."""

    dense: Model
    sparse: Model
    data: Path
    "data.yaml of the demo set."
    note: str = ""
    "Under which name the sparse-trained model was here already, empty where it was not."


def demo_data(store: Store) -> Path:
    """Return data.yaml of the demo set, drawn into the workspace on first use (a few seconds)."""
    return make_demo_dataset(store.folder / "datasets" / "demo")


def open_demo(store: Store) -> Demo:
    """Put the demo into a workspace; a second call finds what is there.

    Raises:
        StorageError: The shipped checkpoints are missing or the workspace cannot be written.
    """
    for path in (DENSE, SPARSE):
        if not path.is_file():
            raise StorageError(f"{path.name} is missing from the demo folder; fetch the repository again.")
    dense = store.add_model(DENSE, "Demo: dense", "demo", made={"verb": "train"})
    sparse = store.register(SPARSE, "Demo: sparse-trained", "demo", parent_id=dense.id, made={"verb": "sparsify"})
    return Demo(dense, sparse.model, demo_data(store), sparse.sentence)
