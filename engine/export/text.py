"""An export's result for the terminal."""

from __future__ import annotations

from engine.base import numbers
from engine.settings.results import ExportResult, Gate

NOT_VERIFIED = (
    "NOT VERIFIED: neither boxes nor mAP could be tested. Fine-tune the model first if it was just pruned, and export "
    "it with the data set it was trained for."
)
_WORDS = {True: "passed", False: "FAILED"}


def export_text(result: ExportResult) -> str:
    """Return the file and every gate with its numbers."""
    opset = f", opset {result.opset}" if result.opset else ""
    about = f"{numbers.megabytes(result.size_mb)}, {result.precision}{opset}"
    rows = [f"{result.format:>12}: {result.path} ({about})"]
    rows += [f"{gate.name:>12}: {_word(gate)}. {gate.text}" for gate in result.gates]
    if any(gate.passed is False for gate in result.gates):
        rows.append("FAILED: the file is there to take, but not every gate was passed.")
    elif not result.passed:
        rows.append(NOT_VERIFIED)
    return "\n".join(rows)


def _word(gate: Gate) -> str:
    if gate.passed is None:
        return "not tested" if gate.value is None else "measured"
    return _WORDS[gate.passed]
