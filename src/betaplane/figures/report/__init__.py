"""Report of a watched run: the loss with its alerts, every layer over time, the evidence."""

from betaplane.figures.report._text import as_json, as_text
from betaplane.figures.report.page import report_html
from betaplane.figures.report.picture import report_png
from betaplane.figures.report.quantities import QUANTITIES, Quantity, quantity
from betaplane.figures.report.run import WatchedRun, watched_run

__all__ = [
    "QUANTITIES",
    "Quantity",
    "WatchedRun",
    "as_json",
    "as_text",
    "quantity",
    "report_html",
    "report_png",
    "watched_run",
]
