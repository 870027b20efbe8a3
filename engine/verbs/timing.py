"""latency: how fast models are on this machine, side by side."""

from __future__ import annotations

from pathlib import Path

from engine.verbs.common import Report, Result, Spec, given, resolve_weights


def latency(spec: Spec, report: Report) -> Result:
    """Measure one or more checkpoints in turns and compare them with the first."""
    from engine.checkpoint import open_checkpoint
    from engine.latency import measure

    names = spec["weights"] if isinstance(spec["weights"], (list, tuple)) else [spec["weights"]]
    paths = [Path(resolve_weights(name)) for name in names]
    results = measure(
        paths,
        imgsz=given(spec, "imgsz", open_checkpoint(paths[0]).imgsz),
        runtimes=given(spec, "runtime", ("onnx",)),
        threads=spec.get("threads"),
        repeats=given(spec, "repeats", 100),
        report=report,
    )
    return {"artefacts": [], "metrics": {}, "results": [result.as_dict() for result in results]}
