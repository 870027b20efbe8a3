"""Gates: what an exported file is held to, each with what was measured and what was asked."""

from __future__ import annotations

from collections.abc import Sequence

from engine.base.numbers import exact, megabytes, milliseconds, percent, score, short
from engine.base.tasks import TASKS, metric_label
from engine.export.dense import SAME_DEPTH
from engine.export.parity import Parity
from engine.export.settings import DETECTION_GATES
from engine.settings.results import Gate

DIFFERENCE_LIMITS = {"fp32": 1e-3, "fp16": 5e-2}
"Largest difference / largest output of the channel. 8 bits are held to boxes and mAP alone."
BOX_LIMITS = {"fp32": 0.99, "fp16": 0.95, "int8": 0.80}
"Least share of boxes that are the same."
SIZE_LIMITS = {"fp32": 1.2, "fp16": 0.65, "int8": 0.45}
"Largest file, as a share of 4 bytes a parameter."
MAP_LIMITS = {"fp32": 0.005, "fp16": 0.005, "int8": 0.02}
"Largest loss of mAP50-95, in points; ``MAP_SHARE`` of the checkpoint's where that is less."
MAP_SHARE = 0.1
_SAME = {
    "classify": "images have the same first class",
    "semantic": "pixels have the same class",
    "depth": f"pixels have the same depth (within a factor of {SAME_DEPTH:g})",
}
"Task without boxes -> what is counted instead of them."
SLOWER_LIMIT = 1.05
"Largest latency of int8 as a share of fp32's."


def checker_gate(complaint: str, format: str = "ONNX") -> Gate:
    """The checker of a format, such as ONNX's with full shape inference; ``complaint`` is empty where it had none."""
    text = f"The {format} checker says: {complaint}" if complaint else f"The {format} checker found no fault."
    return _gate("checker", not complaint, None, None, text)


def difference_gate(parity: Parity, precision: str, limit: float | None = None) -> Gate:
    """Raw outputs against PyTorch's."""
    value = parity.max_rel_difference
    if value is None or parity.max_abs_difference is None or parity.mean_abs_difference is None:
        return _gate("difference", None, None, None, "Outputs are final boxes or classes, so only these are compared.")
    limit = DIFFERENCE_LIMITS.get(precision) if limit is None else limit
    most, mean = short(parity.max_abs_difference), short(parity.mean_abs_difference)
    text = f"Outputs differ from PyTorch by {most} at most and {mean} on average (pixels, or probability) on "
    text += f"{parity.images_compared} images, which is {short(value)} of their magnitude"
    if limit is None:
        return _gate("difference", None, value, None, text + "; at this precision what is found decides.")
    return _gate("difference", value <= limit, value, limit, text + f" ({short(limit)} accepted).")


def boxes_gate(parity: Parity, precision: str, *, noise_only: bool = False, task: str = "detect") -> Gate:
    """The boxes found against PyTorch's; ``noise_only`` where no image from elsewhere was among those compared."""
    value, limit = parity.box_share, BOX_LIMITS[precision]
    if value is None:
        text = f"Neither model found anything on {parity.images_compared} "
        text += "images of noise; give a data set to compare boxes." if noise_only else "images."
        return _gate("boxes", None, None, limit, text)
    same = _SAME.get(task, "detections are the same")
    text = f"{parity.boxes_matched} of {max(parity.boxes_expected, parity.boxes_found)} {same} "
    text += f"({percent(value)}; at least {percent(limit, 0)} accepted)"
    text += ", tested on noise images only." if noise_only else "."
    return _gate("boxes", value >= limit, value, limit, text)


def size_gate(size_mb: float, params: int, precision: str) -> Gate:
    """The file's size against that of its weights in float32. Small models may carry more graph than weights."""
    limit = SIZE_LIMITS[precision] * params * 4 / 1e6 + 0.5
    text = f"The file has {megabytes(size_mb)}, its {exact(params)} parameters {megabytes(params * 4 / 1e6)} in fp32"
    return _gate("size", size_mb <= limit, size_mb, limit, f"{text} (at most {megabytes(limit)} accepted).")


def latency_gate(p50_ms: float, float_p50_ms: float | None, precision: str) -> Gate:
    """Milliseconds an image on this machine; int8 is meant to be faster than fp32, fp16 only on other hardware."""
    text = f"One image takes {milliseconds(p50_ms)} (median) on this machine's processor"
    if float_p50_ms is None:
        return _gate("latency", None, p50_ms, None, text + ".")
    text += f", in fp32 {milliseconds(float_p50_ms)}"
    if precision != "int8":
        return _gate("latency", None, p50_ms, None, text + "; 16 bits are for hardware that computes with them.")
    limit = SLOWER_LIMIT * float_p50_ms
    return _gate("latency", p50_ms <= limit, p50_ms, limit, text + ".")


def accuracy_gate(value: float, float_value: float, precision: str, task: str = "detect") -> Gate:
    """The metric that judges on the validation split beside the checkpoint's."""
    largest_loss = MAP_LIMITS[precision]
    limit = float_value - min(largest_loss, MAP_SHARE * float_value)
    what = {"segment": " of the masks", "pose": " of the keypoints"}.get(task, "")
    metric = metric_label(TASKS[task].metric)
    text = f"{metric}{what} is {score(value)} on the validation split, the checkpoint's {score(float_value)}"
    if float_value <= largest_loss:
        text += "; so low that no loss would show. Choose the data set that the model was trained for."
        return _gate("accuracy", None, value, None, text)
    text += f" (at least {score(limit)} accepted)."
    return _gate("accuracy", value >= limit, value, limit, text)


def no_accuracy_gate(reason: str) -> Gate:
    """The gate of an export of which no accuracy was measured, and why."""
    return _gate("accuracy", None, None, None, reason)


def failures(gates: Sequence[Gate]) -> list[Gate]:
    """Return the gates that were not passed."""
    return [gate for gate in gates if gate.passed is False]


def untested(gates: Sequence[Gate]) -> list[Gate]:
    """Return the gates that say nothing of the file: without a number, or without a limit for what it finds."""
    return [gate for gate in gates if gate.passed is None and (gate.value is None or gate.name in DETECTION_GATES)]


def detections_tested(gates: Sequence[Gate]) -> bool:
    """Whether boxes or mAP were held to a limit."""
    return any(gate.passed is not None for gate in gates if gate.name in DETECTION_GATES)


def verdict(gates: Sequence[Gate]) -> str:
    """Return what became of all gates in a few words."""
    if failed := failures(gates):
        return f"FAILED: {_names(failed)}"
    if missing := untested(gates):
        return f"No gate failed; not tested: {_names(missing)}"
    return "Every gate passed"


def complaint(gates: Sequence[Gate]) -> str:
    """Return what is wrong with a file that was not passed: its failed gates, else those that tested nothing."""
    if failed := failures(gates):
        return "FAILED: " + " ".join(gate.text for gate in failed)
    return "NOT VERIFIED: " + " ".join(gate.text for gate in gates if gate.name in DETECTION_GATES)


def _names(gates: Sequence[Gate]) -> str:
    return ", ".join(gate.name for gate in gates)


def _gate(name: str, passed: bool | None, value: float | None, limit: float | None, text: str) -> Gate:
    return Gate(name=name, passed=passed, value=value, limit=limit, text=text)
