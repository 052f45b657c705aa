"""Hook of MkDocs: add the generated pages and pictures to the site, and their pages to the navigation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.site import (
    adam_pictures,
    claim_pages,
    detector_page,
    file_pages,
    reference_pages,
    rule_pages,
    theory_pages,
)

GENERATORS = (
    rule_pages,
    theory_pages,
    claim_pages,
    detector_page,
    file_pages,
    reference_pages,
    adam_pictures,
)


def on_config(config: Any) -> Any:
    """Generate everything once, and replace each `folder/*` of the navigation by the generated pages there."""
    config["generated"] = {
        path: content for part in GENERATORS for path, content in part.generate().items()
    }
    config["nav"] = _expanded(
        config["nav"], [path for path in config["generated"] if path.endswith(".md")]
    )
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add what was generated as if it lay in docs/."""
    for path, content in config["generated"].items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the table of layers in place of its mark."""
    return markdown.replace("<!-- layers -->", file_pages.layers())


def _expanded(entry: Any, pages: list[str]) -> Any:
    if isinstance(entry, dict):
        return {title: _expanded(inside, pages) for title, inside in entry.items()}
    if isinstance(entry, list):
        return [item for each in entry for item in _items(each, pages)]
    return entry


def _items(entry: Any, pages: list[str]) -> list[Any]:
    if isinstance(entry, str) and entry.endswith("/*"):
        folder = entry.removesuffix("*")
        return [page for page in pages if page.startswith(folder) and page != f"{folder}index.md"]
    return [_expanded(entry, pages)]
