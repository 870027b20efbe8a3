"""The report of one model: a single HTML file without scripts that asks nothing of any network."""

from engine.reports.gather import Facts, ReportedModel, gather
from engine.reports.page import report_html

__all__ = ["Facts", "ReportedModel", "gather", "report_html"]
