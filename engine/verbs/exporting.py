"""export: files for deployment."""

from __future__ import annotations

from pathlib import Path

from engine.base.errors import ExportError
from engine.base.events import Report
from engine.settings.requests import ExportRequest
from engine.settings.results import Artefact, ExportResult
from engine.verbs.common import starting_point


def export(request: ExportRequest, report: Report) -> ExportResult:
    """Write SAVE_DIR/NAME.onnx, or another format, held against its gates.

    A failed gate is part of the result and the file is there. With ``strict`` it is an error, as are detections that
    nothing tested; the file is then SAVE_DIR/NAME-failed.onnx, and an older SAVE_DIR/NAME.onnx stays.
    """
    from engine.base.runtime import import_ultralytics

    import_ultralytics()
    from engine.export import ExportSettings, export_model
    from engine.export.gates import complaint
    from engine.runtimes.formats import format_named

    weights, _, imgsz = starting_point(request.weights, scratch_allowed=False)
    settings = ExportSettings(
        imgsz=request.imgsz or imgsz,
        format=request.format,
        precision=request.precision,
        opset=request.opset,
        dynamic=request.dynamic,
        simplify=request.simplify,
        nms=request.nms,
        head=request.head,
        data=Path(request.data) if request.data else None,
    )
    path = request.folder / f"{request.name or Path(weights).stem}{format_named(settings.format).suffix}"
    exported = export_model(Path(weights), path, settings, strict=request.strict, report=report)
    if request.strict and not exported.passed:
        raise ExportError(f"{complaint(exported.gates)} The file is at {exported.path}; {path} was left alone.")
    artefact = Artefact(path=str(path), kind=settings.format)
    # Three formats have a key of their own beside ``path``, which readers of older results look for.
    named = {settings.format: str(path)} if settings.format in type(exported).model_fields else {}
    return exported.model_copy(update={**named, "artefacts": (artefact,)})
