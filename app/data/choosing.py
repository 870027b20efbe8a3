"""Choose a data set: the demo set or a data.yaml, checked before anything starts."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from app.data.known_data import located
from app.frame.session import explained, store
from app.words import format
from engine.base.tasks import DEPTH, FOLDERS, MASKS, POLYGONS, TASKS
from engine.datasets import DatasetInfo, check_dataset
from engine.demo.shipped import demo_data
from engine.workspace.data import family_data
from engine.workspace.store import Model

DEMO, OWN = "Demo set", "My own"
_LABELS = {MASKS: "masks", DEPTH: "depth maps", POLYGONS: "polygons", FOLDERS: "images"}
"Kind of label -> what a data set counts."


def choose_data(model: Model, key: str, *, details: bool = False) -> str | None:
    """Show the choice of a data set and return the path of its data.yaml, None while there is none to use.

    Args:
        model: Its family's data set is preselected.
        key: Prefix of the widgets' keys.
        details: Show boxes per class as well.
    """
    known = family_data(store(), model)
    source = st.segmented_control(
        "Data set",
        [OWN, DEMO],
        default=DEMO if known == "demo" or _is_demo(known) else OWN,
        required=True,
        key=f"{key} source {model.id}",
        help="Pictures with YOLO labels. The demo set is drawn on this machine: boats in a harbour.",
    )
    if source == DEMO:
        with explained(), st.spinner("Drawing the demo set…"):
            return _checked(str(demo_data(store())), details)
        return None
    path = st.text_input(
        "Path of data.yaml, or a name",
        value="" if known in (None, "demo") or _is_demo(known) else known,
        placeholder="/home/me/datasets/parts/data.yaml",
        key=f"{key} path {model.id}",
        help="The description that Ultralytics trains from: train, val and names. A folder that holds it will do, and "
        "so will the name of a set that Ultralytics knows, such as coco8.yaml. For classification there is none: give "
        "the folder that holds train and val, with a folder for every class.",
    )
    if not path.strip():
        st.caption("Give the path of a data.yaml, or of a folder of classes, on the machine that runs this app.")
        return None
    with explained():
        found = located(path.strip(), key)
        return None if found is None else _checked(found, details)
    return None


def _is_demo(path: str | None) -> bool:
    return path is not None and Path(path).parent == store().folder / "datasets" / "demo"


@st.cache_data(max_entries=8, ttl=60, show_spinner="Checking the data set…")
def _look(path: str, task: str | None) -> DatasetInfo:
    return check_dataset(path, task)


def dataset_info(path: str, task: str | None = None) -> DatasetInfo:
    """Return what a data set holds, looked at once in a while; raises as ``engine.datasets.check_dataset``."""
    info = _look(path, None)
    # Many labels take long to read: those that are of the task's own kind are not read again for it.
    same = task is None or (task in TASKS and info.label_kind in TASKS[task].labels)
    return info if same else _look(path, task)


def _checked(path: str, details: bool) -> str:
    info = dataset_info(path)
    pictures = ", ".join(f"{count:,} {split}" for split, count in info.images.items())
    counted = _LABELS.get(info.label_kind, "boxes")
    labels = f" · {sum(info.labels.values()):,} {counted}" if info.label_kind != FOLDERS else ""
    st.caption(f"{pictures} images{labels} · {len(info.names)} {'class' if len(info.names) == 1 else 'classes'}")
    for problem in info.problems:
        st.warning(format.plain(problem), icon=":material/warning:")
    if details and info.boxes_per_class:
        column = counted.capitalize()
        table = pd.DataFrame({"Class": list(info.boxes_per_class), column: list(info.boxes_per_class.values())})
        most = max(info.boxes_per_class.values(), default=0)
        boxes = st.column_config.ProgressColumn(format="%d", min_value=0, max_value=max(most, 1))
        st.dataframe(table, hide_index=True, height=min(36 + 35 * len(table), 260), column_config={column: boxes})
    return str(info.yaml_path)
