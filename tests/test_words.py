"""The check of the words that docstrings, comments, messages and Markdown use."""

import re
import tomllib
from pathlib import Path

import pytest
from tools import words

ROOT = Path(__file__).parents[1]
DATA = tomllib.loads((ROOT / "tools" / "words.toml").read_text())

SOURCE = '''"""Docstring that tells more."""

# a comment about kin
LABEL = "2 bytes a parameter"
KEY = "told"


def held(value: int) -> str:
    """One run per core, `told` in code."""
    found = f"{value} goes on"
    return found
'''


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "module.py"
    path.write_text(SOURCE)
    return path


def reported(path: Path) -> list[tuple[int, str]]:
    forbidden = words.Words(DATA["forbidden"])
    return [(finding.line, finding.word) for finding in words.findings(path, forbidden)]


def test_forbidden_words_are_reported_with_their_lines(source: Path) -> None:
    assert reported(source) == [
        (1, "tells"),
        (3, "kin"),
        (4, "bytes a parameter"),
        (9, "told"),
        (10, "goes on"),
    ]


def test_markdown_is_checked_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("# Title\n\nThe optimizer rounds at random, 99 % of the time.\n")
    assert reported(path) == [(3, "99 %"), (3, "rounds at random")]


def test_an_exception_allows_its_text(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("There is room for ask and tell; they roll back.\n")
    assert reported(path) == []


def test_vague_names_are_reported(source: Path) -> None:
    vague = [(name.line, name.word) for name in words.vague_names(source, DATA["names"])]
    assert sorted(vague) == [(8, "held"), (10, "found")]


def test_figures_count_words_lines_and_functions(source: Path) -> None:
    figures = words.counts([source], DATA)
    assert re.search(r"forbidden words +5\b", figures)
    assert re.search(r"'a' for 'per' +1\b", figures)
    assert "median 2, p90 2, largest 2" in figures


def test_glossary_uses_no_forbidden_word() -> None:
    assert reported(ROOT / "docs" / "glossary.md") == []


def test_paths_exist() -> None:
    assert all(
        (ROOT / place).exists() for place in [*DATA["paths"], *DATA["pending"], *DATA["exempt"]]
    )
