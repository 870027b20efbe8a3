"""What two models find on the same image, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from app.charts.boxes import LEGEND, boxes_on_image
from app.comparison.side_by_side import SideBySide, size_of
from app.frame.session import explained
from app.words import format
from engine.base.errors import DatasetError
from engine.base.images import COLOUR
from engine.checkpoints.child import run_in_child
from engine.datasets import check_dataset, image_files
from engine.validation.detections import (
    LEAST_CONFIDENCE,
    Boxes,
    Matches,
    find_boxes_in_child,
    match_boxes,
)
from engine.workspace.store import Model

_LONGEST_SIDE, _QUALITY = 1280, 88
"Of the picture under the boxes, in pixels."


@st.cache_data(max_entries=256, show_spinner=False)
def _boxes(digest: str, image: str, changed_ns: int, imgsz: int, _path: Path) -> Boxes:
    return find_boxes_in_child(_path, image, imgsz)


def boxes_of(model: Model, image: str, imgsz: int) -> Boxes:
    """Return everything that a model finds on an image, predicted once; raises as ``detections.find_boxes``."""
    path = Path(image)
    if not path.is_file():
        raise DatasetError(f"{path.name} is gone; choose another image.")
    return _boxes(model.digest, image, path.stat().st_mtime_ns, imgsz, model.path)


@st.cache_data(max_entries=8, ttl=60, show_spinner=False)
def _images(data: str, split: str) -> list[str]:
    return [str(path) for path in image_files(check_dataset(data), split)]


def show_predictions(found: SideBySide, data: str, split: str, imgsz: int) -> None:
    """Show two models' boxes on an image of a split, with those that only one of them finds marked."""
    if len(found.models) < 2:
        st.caption("Choose a second model to see what only one of the two finds.")
        return
    with explained():
        first, second = _choose_models(found)
        images = _images(data, split)
        image = _choose_image(images, f"{data} {split}")
        confidence = st.slider(
            "Confidence",
            LEAST_CONFIDENCE,
            0.95,
            0.25,
            0.05,
            key="predictions confidence",
            persist_state="session",
            help="Boxes below it are left out; 0.25 is what Ultralytics predicts with.",
        )
        with st.spinner("Looking for objects…"):
            left, right = (boxes_of(model, image, imgsz).above(confidence) for model in (first, second))
        st.html(LEGEND)
        _show_pair((first, second), (left, right), match_boxes(left, right), image, found)


def difference_sentence(name: str, found: int, alone: int) -> str:
    """Return '**Dense** · 7 boxes, 2 of them only here'."""
    if not found:
        return f"**{format.plain(name)}** · no box"
    counted = "1 box" if found == 1 else f"{found} boxes"
    who = "" if found == 1 else "all " if alone in (0, found) else f"{alone} of them "
    return f"**{format.plain(name)}** · {counted}, {who}{'only here' if alone else 'found by both'}"


def _choose_models(found: SideBySide) -> tuple[Model, Model]:
    names, by_id = found.names, {model.id: model for model in found.models}
    ids = list(by_id)
    others = [model_id for model_id in ids if model_id != found.reference.id]
    key = f"predictions {' '.join(ids)}"
    grid = st.grid(2, min_column_width=200)
    chosen = []
    for side, first_choice in (("Left", found.reference.id), ("Right", others[-1])):
        chosen.append(
            grid.selectbox(
                f"{side} model",
                ids,
                index=ids.index(first_choice),
                format_func=lambda model_id: names[str(by_id[model_id].path)],
                key=f"{key} {side}",
                help=f"Whose boxes are drawn on the {side.lower()} image.",
            )
        )
    return by_id[chosen[0]], by_id[chosen[1]]


def _choose_image(images: Sequence[str], key: str) -> str:
    state = f"image {key}"
    if st.session_state.get(state) not in images:
        st.session_state[state] = images[0]
    at = images.index(st.session_state[state])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _step_button("Previous", images, state, at, -1, ":material/chevron_left:")
        _step_button("Next", images, state, at, 1, ":material/chevron_right:")
        return st.selectbox(
            f"Image {at + 1} of {len(images)}",
            images,
            format_func=format.labels_of(format.distinct_labels({path: Path(path).name for path in images})),
            key=state,
            help="An image of the split that is measured on.",
        )


def _step_button(label: str, images: Sequence[str], state: str, at: int, step: int, icon: str) -> None:
    def go() -> None:
        st.session_state[state] = images[(at + step) % len(images)]

    st.button(label, key=f"{label} {state}", icon=icon, on_click=go, help=f"{label} image of the split.")


def _show_pair(
    pair: tuple[Model, Model], both: Sequence[Boxes], matches: Matches, image: str, found: SideBySide
) -> None:
    grid = st.grid(2, min_column_width=320)
    for model, boxes, alone in zip(pair, both, (matches.only_first, matches.only_second), strict=True):
        with grid.cell():
            st.markdown(difference_sentence(found.names[str(model.path)], len(boxes), len(alone)))
            jpeg, size = _jpeg(image, Path(image).stat().st_mtime_ns, size_of(model).facts.fitting.channels)
            st.image(boxes_on_image(jpeg, size, boxes, alone, size_of(model).facts.names), width="stretch")
    said = "Two boxes mark the same object if they are of one class and overlap by half (IoU 0.5 or more)."
    bands = size_of(pair[0]).facts.fitting.channels
    if bands not in (1, COLOUR):
        said += f" Of the image's {bands} bands the first are shown as blue, green and red, each over its own range."
    st.caption(said)


@st.cache_data(max_entries=16, show_spinner=False)
def _jpeg(image: str, changed_ns: int, channels: int) -> tuple[bytes, tuple[int, int]]:
    """Return an image as JPEG, and its own (width, height); a child process reads it as for a model."""
    asked = {"path": str(Path(image).absolute()), "channels": channels, "longest": _LONGEST_SIDE, "quality": _QUALITY}
    (width, height), told = run_in_child("engine.base.images:told_jpeg", asked, Path(image).name)
    return told["jpeg"].tobytes(), (width, height)
