"""What an export is shown as: its gates with their numbers, and the file to download."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.frame.downloads import exported_file, offer_file
from app.words import format
from engine.base import numbers
from engine.base.entries import Entry
from engine.export.settings import DETECTION_GATES, END2END
from engine.settings.choices import FORMATS
from engine.settings.results import ExportResult, Gate
from engine.workspace.store import Job

_GATES = {
    "checker": "ONNX checker",
    "difference": "Outputs",
    "boxes": "Detections",
    "size": "Size",
    "latency": "Latency",
    "accuracy": "Accuracy",
}
_BADGES: dict[bool | None, tuple[str, str, format.Colour]] = {
    True: ("Passed", ":material/check_circle:", "green"),
    False: ("Failed", ":material/error:", "red"),
    None: ("Not tested", ":material/remove:", "gray"),
}
_MEASURED: tuple[str, str, format.Colour] = ("Measured", ":material/straighten:", "gray")


def show_export(job: Job, result: ExportResult) -> None:
    """Show the gates that an exported file was held to, and offer it for download."""
    gates = result.gates
    _show_tiles(result)
    failed = [gate for gate in gates if gate.passed is False]
    if failed:
        names = ", ".join(_GATES[gate.name] for gate in failed)
        st.warning(f"Failed: {names}. The file can be taken all the same.", icon=":material/warning:")
    elif not result.verified:
        st.warning(_not_verified(gates), icon=":material/help:")
    with st.container(border=True, gap="small"):
        for gate in gates:
            _show_gate(gate)
    height, width = result.imgsz
    inputs = "any batch and image size" if result.dynamic else f"one image of {height} × {width} px"
    final = result.nms or result.head == END2END
    outputs = "final boxes" if final else "raw predictions"
    st.caption(f"Takes {inputs} and puts out {outputs}.")
    _offer_file(job, result)


def _not_verified(gates: Sequence[Gate]) -> str:
    """Return what was not tested of a file that no gate failed, and what would test it."""
    names = " nor ".join(_GATES[gate.name] for gate in gates if gate.name in DETECTION_GATES)
    return (
        f"Not verified: neither {names} could be tested, so nothing is known of what the file finds. "
        "Fine-tune the model first if it was just pruned, and export it with the data set it was trained for."
    )


def _show_tiles(result: ExportResult) -> None:
    gates = {gate.name: gate for gate in result.gates}
    grid = st.grid(4, min_column_width=180)
    if checker := gates.get("checker"):
        word = _BADGES[checker.passed][0]
        grid.metric("ONNX checker", word, help="onnx.checker, with full shape inference.", border=True)
    else:
        grid.metric("Format", _format(result).label, border=True)
    difference = result.max_abs_difference
    grid.metric(
        "Largest difference",
        _short(difference),
        help="Between the file and PyTorch, over all outputs: pixels for boxes, probability for scores.",
        border=True,
    )
    grid.metric("File size", numbers.megabytes(result.size_mb), border=True)
    if result.latency_ms is not None:
        grid.metric(
            "Latency",
            numbers.milliseconds(result.latency_ms),
            help="Median of one image on this processor.",
            border=True,
        )


def _format(result: ExportResult) -> Entry:
    """Return the format of an exported file; one whose format is gone by now is called as the result calls it."""
    return FORMATS.get(result.format, Entry(result.format, result.format, ""))


def _short(difference: float | None) -> str:
    """Return a difference; a dash where nothing was measured."""
    return numbers.UNKNOWN if difference is None else numbers.short(difference)


def _is_measured(gate: Gate) -> bool:
    """Whether a gate has a number that is held to nothing."""
    return gate.passed is None and gate.value is not None


def _show_gate(gate: Gate) -> None:
    word, icon, colour = _MEASURED if _is_measured(gate) else _BADGES[gate.passed]
    with st.container(gap=None):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{_GATES[gate.name]}**", width="content")
            st.badge(word, icon=icon, color=colour)
        st.caption(format.plain(gate.text))


def _offer_file(job: Job, result: ExportResult) -> None:
    path = exported_file(job)
    if not path.is_file():
        st.info("The exported file is gone; export the model again.")
        return
    kind = _format(result)
    offer_file(f"Download {kind.label}", "export", job.id, type="primary", help=kind.sentence)
    st.caption(f"Also at {format.plain(str(path))}")
