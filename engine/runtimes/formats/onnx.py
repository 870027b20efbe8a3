"""ONNX: one file that ONNX Runtime, OpenVINO or TensorRT can read."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from engine.base.events import Report
from engine.runtimes.exporter import first_line
from engine.runtimes.formats._format import PREFIX, Backend, ExportChoices, Format
from engine.runtimes.formats._onnx_precision import to_fp16, to_int8
from engine.runtimes.sessions import open_session


class Onnx(Format):
    """Run by ONNX Runtime."""

    suffix = ".onnx"
    precisions = ("fp32", "fp16", "int8")
    converted = ("fp16", "int8")
    options = ("opset", "simplify")
    measured = True

    def arguments(self, choices: ExportChoices) -> dict[str, Any]:
        return {"opset": choices.opset, "simplify": choices.simplify}

    def convert(
        self, source: Path, target: Path, precision: str, images: Iterable[np.ndarray], count: int, report: Report
    ) -> None:
        if precision == "fp16":
            to_fp16(source, target)
        else:
            to_int8(source, target, images, count, report)
        _write_metadata(target, read_metadata(source))  # converters may drop what Ultralytics wrote

    def sign(self, exported: Path, facts: dict[str, str]) -> None:
        _write_metadata(exported, {**read_metadata(exported), **{PREFIX + key: text for key, text in facts.items()}})

    def image_size(self, exported: Path) -> tuple[int, int]:
        height, width = ast.literal_eval(read_metadata(exported)["imgsz"])
        return height, width

    def opset(self, exported: Path) -> int:
        import onnx

        model = onnx.load(str(exported), load_external_data=False)
        return next(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})

    def complaint(self, exported: Path) -> str:
        """Return what the ONNX checker says, with full shape inference."""
        import onnx

        try:
            onnx.checker.check_model(str(exported), full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            return first_line(error)
        return ""

    def open(self, exported: Path, threads: int) -> Backend:
        # The count is told, as the runtime left to itself takes all of the machine's cores and pins threads to them.
        session = open_session(exported, threads)
        name = session.get_inputs()[0].name
        return lambda array: session.run(None, {name: array})


FORMAT = Onnx()


def read_metadata(exported: Path) -> dict[str, str]:
    """Return the metadata of an ONNX file."""
    import onnx

    model = onnx.load(str(exported), load_external_data=False)
    return {entry.key: entry.value for entry in model.metadata_props}


def _write_metadata(exported: Path, metadata: dict[str, str]) -> None:
    import onnx

    model = onnx.load(str(exported))
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, str(exported))
