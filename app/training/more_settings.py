"""Settings of a training beyond the common ones, as widgets: AutoBatch, experiment trackers, Ultralytics' arguments."""

from __future__ import annotations

import json
from typing import Any, Literal

import streamlit as st

from app.words import format
from engine.base.errors import WorkbenchError
from engine.checkpoints.child import run_in_child
from engine.settings.verb_facts import TRACKERS

TRACKER_NAMES = {
    "tensorboard": "TensorBoard",
    "mlflow": "MLflow",
    "wandb": "Weights & Biases",
    "comet": "Comet",
    "clearml": "ClearML",
    "dvc": "DVC",
}
_AUTOMATIC = "What fits into 60 % of the GPU's memory, measured by Ultralytics (AutoBatch); on the CPU 16 images."


def automatic_batch(key: str) -> bool:
    """Whether the batch of the widgets that ``key`` prefixes is chosen automatically."""
    return bool(st.session_state.get(f"{key} autobatch"))


def choose_automatic_batch(key: str, persist: Literal["session"] | None) -> dict[str, Any]:
    """Show whether the batch is chosen automatically; return it under the verb's name if so."""
    chosen = st.toggle("Choose the batch by memory", key=f"{key} autobatch", persist_state=persist, help=_AUTOMATIC)
    return {"batch": -1} if chosen else {}


def choose_trackers(key: str, persist: Literal["session"] | None) -> dict[str, Any]:
    """Show the experiment trackers that are installed; return those that were chosen under the verb's name."""
    from engine.training.trackers import available_trackers

    installed = available_trackers()
    if not installed:
        st.caption(f"Experiment trackers: none of {', '.join(TRACKER_NAMES[name] for name in TRACKERS)} is installed.")
        return {}
    chosen = st.pills(
        "Experiment trackers",
        installed,
        selection_mode="multi",
        format_func=format.labels_of(TRACKER_NAMES),
        key=f"{key} tracker",
        persist_state=persist,
        help="Record the run there too, with its gammas. TensorBoard and MLflow write into the job's folder, MLflow to "
        "its server where one is set up.",
    )
    return {"tracker": list(chosen)} if chosen else {}


@st.cache_data(max_entries=64, show_spinner=False)
def _checked(spec: str, line: str, verb: str) -> dict[str, Any]:
    """Return the arguments of a line, checked by Ultralytics itself beside the other settings, as JSON."""
    asked = {"spec": {**json.loads(spec), "ultralytics": line}, "verb": verb}
    return run_in_child("engine.settings.arguments:told_arguments", asked, "Ultralytics", bounds=None)[0]


def choose_arguments(
    key: str, verb: str, spec: dict[str, Any], persist: Literal["session"] | None
) -> dict[str, Any] | None:
    """Show the field for Ultralytics' own arguments and return them under the verb's name; None while they are wrong.

    Args:
        key: Prefix of the widget's key.
        verb: What the arguments are for.
        spec: The other settings, which they must not say again.
        persist: Whether the widget keeps its value across pages.
    """
    example = "mosaic=0.5 freeze=10 cache=ram" if verb != "val" else "iou=0.6 max_det=100"
    line = st.text_input(
        "More Ultralytics arguments",
        placeholder=example,
        key=f"{key} arguments",
        persist_state=persist,
        help="As on its command line: KEY=VALUE, one after another. Ultralytics itself checks them.",
    )
    if not line.strip():
        return {}
    try:
        return {"ultralytics": _checked(json.dumps(spec, default=str), line, verb)}
    except WorkbenchError as error:
        st.error(format.plain(str(error)), icon=":material/error:")
        return None
