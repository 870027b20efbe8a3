"""Export: the current model as a file for deployment, held against gates, then downloaded."""

from typing import Any

import streamlit as st

from app.data.choosing import choose_data
from app.data.fit import goes_together
from app.frame.session import explained, planner, require_model, store
from app.jobs.live import show_job
from app.jobs.starting import start_export
from app.training.settings import written_size
from app.words import format
from app.words.fields import labelled, setting
from engine.base.imgsz import as_size, rounding_words
from engine.base.tasks import TASKS
from engine.export.settings import END2END, HEADS, NMS_TASKS, ONE_TO_MANY
from engine.profile.facts import CheckpointFacts
from engine.runtimes.formats import available_formats, format_named
from engine.settings.choices import FORMATS
from engine.workspace.data import family_data
from engine.workspace.store import Job, Model

AUTOMATIC = "Automatic"
WORDS = {"fp32": "FP32", "fp16": "FP16", "int8": "INT8"}
HEAD_WORDS = {END2END: "End-to-end", ONE_TO_MANY: "One-to-many"}
HELP = {
    "fp32": "Full precision: computes what the model computes.",
    "fp16": "Half the size, for GPUs and NPUs that compute with 16 bits. The decoding of boxes stays in FP32.",
    "int8": "A quarter of the size, and faster on most processors. Calibrated on images of the training split; "
    "the last convolutions and the decoding of boxes stay in FP32.",
}


def choose_options(model: Model, facts: CheckpointFacts) -> dict[str, Any] | None:
    """Show the settings and return them, None while one is missing."""
    options = choose_kind(facts)
    grid = st.grid(3, min_column_width=170)
    size, opset, switches = grid.container(), grid.container(), grid.container()
    options["imgsz"] = choose_size(size, facts)
    if "opset" in format_named(options["format"]).options:
        options["opset"] = choose_opset(opset, 13 if options["precision"] == "int8" else 12)
    with switches:
        options |= choose_switches(options, facts)
    st.caption(HELP[options["precision"]])
    if facts.task not in TASKS:
        return options
    needed = options["precision"] == "int8"
    if needed or st.toggle(
        "Compare on a data set",
        family_data(store(), model) is not None,
        key=f"compare on data {model.id}",
        help="Compares detections on validation images too, not only on images of noise; with fewer bits or with boxes "
        "suppressed, also accuracy.",
    ):
        options["data"] = choose_data(model, "export")
        return options if options["data"] or not needed else None
    return options


def choose_kind(facts: CheckpointFacts) -> dict[str, Any]:
    """Show what kind of file it is to be, and return format, precision and, of a model that has two, the head."""
    grid, kind = st.grid(2, min_column_width=240), setting("export", "format")
    options: dict[str, Any] = {
        "format": grid.segmented_control(
            kind.label,
            available_formats(),
            default=kind.default,
            required=True,
            format_func=format.labels_of({name: entry.label for name, entry in FORMATS.items()}),
            key="format",
        )
    }
    options["precision"] = grid.segmented_control(
        setting("export", "precision").label,
        format_named(options["format"]).precisions,
        default=setting("export", "precision").default,
        required=True,
        format_func=format.labels_of(WORDS),
        key=f"precision {options['format']}",
    )
    if facts.end2end:
        options["head"] = grid.segmented_control(
            setting("export", "head").label,
            HEADS,
            default=END2END,
            required=True,
            format_func=format.labels_of(HEAD_WORDS),
            key="head",
            help="This model has two. End-to-end, which it was designed for, puts out final boxes, one for an object; "
            "one-to-many puts out several, to be suppressed.",
        )
    return options


def choose_size(place: Any, facts: CheckpointFacts) -> int | list[int] | str:
    """Show the image size with what becomes of it, and return it as it was written."""
    usual = facts.trained_imgsz
    help = "Of the file's input: pixels, or height and width such as 384,640."
    written = written_size(place, "Image size", usual, f"export imgsz {usual}", help)
    with place, explained():
        if words := rounding_words(as_size(written), facts.stride):
            st.caption(f":material/info: {words}")
    return written


def choose_opset(place: Any, least: int) -> int | None:
    """Show the ONNX operator sets and return the chosen one, None for the exporter's own choice."""
    chosen = place.selectbox(
        **labelled(setting("export", "opset")),
        options=[AUTOMATIC, *range(20, least - 1, -1)],
        key=f"opset {least}",
    )
    return None if chosen == AUTOMATIC else chosen


def choose_switches(options: dict[str, Any], facts: CheckpointFacts) -> dict[str, bool]:
    """Show what a file of this kind may do besides, and return it."""
    switches = {"dynamic": st.toggle(**labelled(setting("export", "dynamic")), key="dynamic")}
    if "simplify" in format_named(options["format"]).options:
        simplify = setting("export", "simplify")
        switches["simplify"] = st.toggle(**labelled(simplify), value=simplify.default, key="simplify")
    if facts.task in NMS_TASKS:
        final = options.get("head") == END2END or facts.centres
        why_not = (
            "This file finds final boxes as it is, so there is nothing to suppress."
            if final
            else "A file that suppresses boxes takes one image of one size, so not with dynamic shapes."
        )
        impossible = final or switches["dynamic"]
        help = f"Puts non-maximum suppression into the file: it then finds final boxes. {why_not if impossible else ''}"
        switches["nms"] = (
            st.toggle(setting("export", "nms").label, key="nms", disabled=impossible, help=help) and not impossible
        )
    return switches


def latest_export(model: Model) -> Job | None:
    """Return the job that the page shows: the one in the URL, else the model's last export."""
    exports = [job for job in store().jobs() if job.verb == "export" and job.model_id == model.id]
    wanted = st.query_params.get("job")
    return next((job for job in exports if job.id == wanted), next(iter(exports), None))


st.title("Export")
model = require_model("Here a model becomes a file for deployment, checked and compared with PyTorch.")
with explained(stop=True):
    opened = planner(model)
st.markdown("Writes a file for deployment, runs it beside the PyTorch model, and says which gates it passed.")
options = choose_options(model, opened.facts)
fits = options is None or not options.get("data") or goes_together(opened, options["data"], "export")
name = FORMATS[options["format"] if options else "onnx"].label
if (
    st.button(
        f"Export to {name}",
        key="export",
        type="primary",
        icon=":material/ios_share:",
        disabled=options is None or isinstance(options["imgsz"], str) or not fits,
        help="Takes seconds; where accuracy is measured on a data set, minutes.",
    )
    and options is not None
):
    with explained(stop=True):
        st.query_params["job"] = start_export(model, options).id
        st.rerun()
if job := latest_export(model):
    with st.container(border=True):
        show_job(job.id)
else:
    st.caption("No export of this model yet.")
