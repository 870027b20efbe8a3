"""The report of a workspace's model, as a child process makes it for a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.reports.gathering import gather
from engine.reports.page import report_html
from engine.workspace.store import Store


def told_report(
    scratch: Path, path: str, name: str, workspace: str, data: str | None
) -> tuple[None, dict[str, np.ndarray]]:
    """Return the report of a workspace's model, as UTF-8 in an array."""
    page = report_html(gather(Path(path), name=name, store=Store(workspace), data=Path(data) if data else None))
    return None, {"html": np.frombuffer(page.encode(), dtype=np.uint8)}
