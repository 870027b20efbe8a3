"""OpenVINO: a zip file; unpack it, and OpenVINO and Ultralytics can read the folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from engine.runtimes.formats._format import LINEAGE_FILE, Backend, ExportChoices, Format


class OpenVino(Format):
    """A folder of a graph, its weights and metadata."""

    suffix = ".zip"
    precisions = ("fp32", "fp16")
    package = "openvino"

    def arguments(self, choices: ExportChoices) -> dict[str, Any]:
        return {"quantize": 16} if choices.precision == "fp16" else {}

    def sign(self, exported: Path, facts: dict[str, str]) -> None:
        (exported / LINEAGE_FILE).write_text(json.dumps(facts, indent=2), encoding="utf-8")

    def open(self, exported: Path, threads: int) -> Backend:
        import openvino

        core = openvino.Core()
        # The CPU plugin may otherwise choose bfloat16, which no other runtime is compared in.
        options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(next(exported.glob("*.xml")), "CPU", options)
        return lambda array: [np.array(value) for value in compiled([array]).values()]


FORMAT = OpenVino()
