"""The results of all claims as a self-contained page and as Markdown."""

from betaplane.claims.report.markdown import markdown_pages
from betaplane.claims.report.page import html_page

__all__ = ["html_page", "markdown_pages"]
