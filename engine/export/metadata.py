"""What a file says about where it came from; its format knows how to write it (``engine.runtimes.formats``)."""

from __future__ import annotations

import json

from engine.checkpoints.checkpoint import Checkpoint

MADE_BY = "YOLO Slimming Workbench"


def lineage(checkpoint: Checkpoint, precision: str) -> dict[str, str]:
    """Return who made the file from what: plain texts, free of paths."""
    return {
        "made_by": MADE_BY,
        "parent": checkpoint.digest,
        "parent_params": str(checkpoint.params),
        "precision": precision,
        "made": json.dumps(checkpoint.made, default=str, sort_keys=True),
    }
