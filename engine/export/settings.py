"""What an export is asked for, and which of it works on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engine.base.errors import ExportError
from engine.runtimes.formats import format_named, unavailable
from engine.settings.fields import check_values, choices_of, default_of
from engine.settings.requests import ExportRequest

NMS_TASKS = ("detect", "segment", "pose", "obb")
END2END, ONE_TO_MANY = HEADS = choices_of(ExportRequest, "head")
"Heads of a model that has two; see ``engine.export.heads``."
DETECTION_GATES = ("boxes", "accuracy")
"The gates that tell whether a file finds what the checkpoint finds."
CALIBRATION_IMAGES = 128
_LEAST_INT8_OPSET = 13
_usual = partial(default_of, ExportRequest)


@dataclass(frozen=True)
class ExportSettings:
    """What to export to; refuses what no exporter could do.

    Raises:
        ExportError: a value is out of range, or two of them do not go together.
    """

    imgsz: int | tuple[int, int]
    "Pixels, or (height, width); Ultralytics rounds it up to the model's stride."
    format: str = _usual("format")
    precision: str = _usual("precision")
    "Of weights and activations: fp32, fp16 or int8. Inputs and outputs stay fp32."
    opset: int | None = _usual("opset")
    "ONNX operator set; Ultralytics' choice for the installed versions if None."
    dynamic: bool = _usual("dynamic")
    "Let batch, height and width vary. Not together with ``nms``."
    simplify: bool = _usual("simplify")
    "Let onnxslim simplify the graph."
    nms: bool = _usual("nms")
    "Put non-maximum suppression into the file."
    head: str | None = _usual("head")
    "Of models that have two (YOLOv10, YOLO26): end2end, which gives final boxes, or one-to-many. End2end if None."
    data: Path | None = None
    "Data set: calibrates int8 on its training images, and checks the file on its validation images."
    calibration_images: int = CALIBRATION_IMAGES

    def __post_init__(self) -> None:
        if len(self.size) != 2 or not all(isinstance(side, int) and side > 0 for side in self.size):
            raise ExportError(f"The image size {self.imgsz} is not one or two positive numbers of pixels, such as 640.")
        check_values(ExportRequest, self, ExportError, but=("data",))
        if sentence := unavailable(self.format):
            raise ExportError(sentence)
        format = format_named(self.format)
        if self.precision not in format.precisions:
            raise ExportError(
                f"{format.label} files can be made in {', '.join(format.precisions)} here, not in {self.precision}."
            )
        if self.precision == "int8" and self.data is None:
            raise ExportError("INT8 is calibrated on training images; choose a data set (--data).")
        if self.precision == "int8" and self.opset is not None and self.opset < _LEAST_INT8_OPSET:
            raise ExportError(f"INT8 needs opset {_LEAST_INT8_OPSET} or newer, not {self.opset}.")
        if self.nms and self.dynamic:
            # Ultralytics traces the suppression for one image: of a batch, the others would come out empty.
            raise ExportError(
                "A file with non-maximum suppression inside takes one image of one size; leave out dynamic shapes "
                "(--dynamic) or the suppression (--nms)."
            )
        if self.nms and self.head == END2END:
            raise ExportError(
                "The end-to-end head gives final boxes, so there is nothing to suppress; leave out the suppression "
                "(--nms), or export the other head (--head one-to-many)."
            )
        if self.calibration_images < 1:
            raise ExportError(f"INT8 cannot be calibrated on {self.calibration_images} images; about 100 are enough.")

    @property
    def size(self) -> list[int]:
        """[height, width] in pixels, as asked."""
        return [self.imgsz, self.imgsz] if isinstance(self.imgsz, int) else list(self.imgsz)
