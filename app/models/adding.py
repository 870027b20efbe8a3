"""The three ways to bring a model into the workspace, as cards."""

from __future__ import annotations

import streamlit as st

from app.frame import session
from app.frame.session import explained, open_model, store
from app.models import library
from app.words import format
from engine.base.errors import WorkbenchError
from engine.workspace.store import Model

PITCH = (
    "Open a trained detector, remove the channels that matter least, win the accuracy back, and take it away as ONNX."
)
STEPS = (
    (":material/bar_chart:", "Look", "Gammas show which channels matter, layer by layer."),
    (":material/model_training:", "Sparse-train", "Drives the unimportant ones to zero, where needed."),
    (":material/content_cut:", "Prune", "Slide the ratio; size and cost follow at once."),
    (":material/replay:", "Fine-tune", "Runs in the background while mAP and losses move."),
    (":material/ios_share:", "Export", "A checked ONNX file, compared with PyTorch."),
)


def _open_and_go(model: Model) -> None:
    open_model(model.id)
    st.switch_page(session.PAGES / "gammas.py", query_params={"model": model.id})


def _add_demo(primary: bool) -> None:
    st.markdown("**Try the demo**")
    st.caption(
        "A small detector for boats in a harbour, dense and sparse-trained, with its data set. Nothing to download."
    )
    if st.button(
        "Open the demo",
        key="open demo",
        type="primary" if primary else "secondary",
        icon=":material/sailing:",
        width="stretch",
        help="Puts two models and their data set into the workspace.",
    ):
        with explained(), st.spinner("Preparing the demo…"):
            model = library.add_demo(store(), session.tell_on_next_page)
        _open_and_go(model)


def _add_upload() -> None:
    st.markdown("**Upload a checkpoint**")
    upload = st.file_uploader(
        "Checkpoint",
        type=["pt"],
        key="upload",
        label_visibility="collapsed",
        help="A best.pt or last.pt that Ultralytics training wrote: YOLOv8, YOLO11 or another, of any size.",
    )
    if upload is None:
        st.caption("A best.pt or last.pt that Ultralytics wrote: YOLOv8, YOLO11 or another, any size.")
        return
    # Every rerun presents the file again: what was refused once is not opened a second time.
    refused = st.session_state.get("refused upload", ("", ""))
    if refused[0] == upload.file_id:
        st.error(format.plain(refused[1]), icon=":material/error:")
        return
    try:
        with st.spinner("Opening the checkpoint…"):
            model = library.add_upload(store(), upload.name, upload.size, upload, session.tell_on_next_page)
    except WorkbenchError as error:
        st.session_state["refused upload"] = (upload.file_id, str(error))
        st.error(format.plain(str(error)), icon=":material/error:")
        return
    _open_and_go(model)


def _add_by_name() -> None:
    st.markdown("**Open by name or path**")
    with st.form("by name", border=False):
        name = st.text_input(
            "Name or path",
            placeholder="yolov8n.pt",
            key="official name",
            label_visibility="collapsed",
            help="Official Ultralytics weights are downloaded once; a path names a file on this machine.",
        )
        st.caption("Official weights such as yolov8n.pt or yolo11s.pt, or the path of a file on this machine.")
        if st.form_submit_button("Open", width="stretch", key="open by name") and name.strip():
            with explained(stop=True), st.spinner(f"Opening {format.plain(name)}…"):
                model = library.add_official(store(), name, session.tell_on_next_page)
            _open_and_go(model)


def show_cards(first_time: bool) -> None:
    """Show demo, upload and name side by side; the demo stands out for a first-time visitor."""
    grid = st.grid(3, min_column_width=230, border=True)
    for add in (lambda: _add_demo(first_time), _add_upload, _add_by_name):
        with grid.cell():
            add()


def show_steps() -> None:
    """Show what the workbench does, step by step."""
    st.space("small")
    grid = st.grid(len(STEPS), min_column_width=150)
    for icon, title, text in STEPS:
        with grid.cell():
            st.markdown(f"{icon} **{title}**")
            st.caption(text)
