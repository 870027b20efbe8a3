"""The report of one model: a single HTML file without scripts that asks nothing of any network."""

from typing import TYPE_CHECKING

from engine.base.lazy import lazily

if TYPE_CHECKING:
    from engine.reports.gathering import Facts, ReportedModel, gather
    from engine.reports.page import report_html

_HOMES = {
    "Facts": "gathering",
    "ReportedModel": "gathering",
    "gather": "gathering",
    "report_html": "page",
}

__all__ = ["Facts", "ReportedModel", "gather", "report_html"]

__getattr__ = lazily(__name__, _HOMES)
