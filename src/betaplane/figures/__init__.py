"""Figures of maps and watched runs as PNG, HTML pages, terminal text and notebook output."""

from betaplane.call_errors import explain_calls
from betaplane.figures.html import html
from betaplane.figures.moments import moments_png
from betaplane.figures.notebook import repr_html
from betaplane.figures.png import png
from betaplane.figures.terminal import summary, terminal

__all__ = ["html", "moments_png", "png", "repr_html", "summary", "terminal"]

explain_calls(__name__)
