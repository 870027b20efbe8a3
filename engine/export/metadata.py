"""What a file says about itself: Ultralytics' metadata, and where the model came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.checkpoints.checkpoint import Checkpoint

MADE_BY = "YOLO Slimming Workbench"
PREFIX = "slimming."
LINEAGE_FILE = "slimming.json"
"Name of the lineage inside TorchScript archives and OpenVINO folders."


def lineage(checkpoint: Checkpoint, precision: str) -> dict[str, str]:
    """Return who made the file from what: plain texts, free of paths."""
    return {
        "made_by": MADE_BY,
        "parent": checkpoint.digest,
        "parent_params": str(checkpoint.params),
        "precision": precision,
        "made": json.dumps(checkpoint.made, default=str, sort_keys=True),
    }


def read_metadata(onnx_file: Path) -> dict[str, str]:
    """Return the metadata of an ONNX file."""
    import onnx

    model = onnx.load(str(onnx_file), load_external_data=False)
    return {entry.key: entry.value for entry in model.metadata_props}


def write_metadata(exported: Path, format: str, metadata: dict[str, str], facts: dict[str, str]) -> None:
    """Put Ultralytics' metadata (which converters may drop) and our lineage into an exported file."""
    if format == "onnx":
        _into_onnx(exported, {**metadata, **{PREFIX + key: value for key, value in facts.items()}})
    elif format == "torchscript":
        _into_torchscript(exported, facts)
    else:
        (exported / LINEAGE_FILE).write_text(json.dumps(facts, indent=2), encoding="utf-8")


def _into_onnx(exported: Path, metadata: dict[str, str]) -> None:
    import onnx

    model = onnx.load(str(exported))
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, str(exported))


def _into_torchscript(exported: Path, facts: dict[str, Any]) -> None:
    import torch

    kept = {"config.txt": ""}
    model = torch.jit.load(str(exported), map_location="cpu", _extra_files=kept)
    extra = {"config.txt": kept["config.txt"], LINEAGE_FILE: json.dumps(facts)}
    model.save(str(exported), _extra_files=extra)
