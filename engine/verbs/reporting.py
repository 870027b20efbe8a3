"""report: one HTML file that says everything about one model."""

from __future__ import annotations

from pathlib import Path

from engine.base.events import Report, status_event
from engine.base.files import expanded
from engine.settings.requests import ReportRequest
from engine.settings.results import Artefact, ReportResult
from engine.verbs.common import resolve_weights


def report(request: ReportRequest, tell: Report) -> ReportResult:
    """Write SAVE_DIR/report.html: lineage, settings, before and after, gammas, layers, curves, sample predictions."""
    from engine.base.errors import StorageError
    from engine.base.files import write_text_atomic
    from engine.reports import gather, report_html
    from engine.workspace.store import Store

    workspace = expanded(request.workspace) if request.workspace else None
    if workspace is not None and not workspace.is_dir():
        raise StorageError(f"There is no workspace {workspace}; leave --workspace out, or correct it.")
    tell(status_event(f"Writing a report on {Path(request.weights).name}"))
    facts = gather(
        resolve_weights(request.weights),
        store=Store(workspace) if workspace else None,
        data=Path(request.data) if request.data else None,
        reference=resolve_weights(request.reference) if request.reference else None,
    )
    path = write_text_atomic(request.folder / "report.html", report_html(facts))
    return ReportResult(report=str(path), artefacts=(Artefact(path=str(path), kind="report"),))
