"""The pages of the claims, from the results in the package."""

from __future__ import annotations

from betaplane.claims.report import markdown_pages


def generate() -> dict[str, str]:
    """Pages and pictures, by their path in docs/."""
    return {f"claims/{name}": text for name, text in markdown_pages().items()}
