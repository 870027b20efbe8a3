"""export: files for deployment."""

from __future__ import annotations

from pathlib import Path

from engine.verbs.common import Report, Result, Spec, given, starting_point


def export(spec: Spec, report: Report) -> Result:
    """Write SAVE_DIR/NAME.onnx, checked and compared with the PyTorch model."""
    from engine.runtime import import_ultralytics

    import_ultralytics()
    from engine.export import export_onnx

    weights, _, imgsz = starting_point(spec["weights"], scratch_allowed=False)
    path = Path(spec["save_dir"]) / f"{spec.get('name') or Path(weights).stem}.onnx"
    exported = export_onnx(
        Path(weights),
        imgsz=given(spec, "imgsz", imgsz),
        save_path=path,
        opset=spec.get("opset"),
        dynamic=bool(spec.get("dynamic")),
        simplify=given(spec, "simplify", True),
        report=report,
    ).as_dict()
    return {"onnx": str(path), "artefacts": [{"path": str(path), "kind": "onnx"}], "metrics": {}, **exported}
