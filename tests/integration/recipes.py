"""Apply the recipes of CONTRIBUTING.md to a copy of the project, as a reader would."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
STEP = re.compile(r"^\d\. ", re.MULTILINE)
BLOCK = re.compile(r"^ {3}```(\w+)\n(.*?)^ {3}```$", re.DOTALL | re.MULTILINE)
HUNKS = re.compile(r"^@@\n", re.MULTILINE)


class Block(NamedTuple):
    """A block of a step: a file or a part of one, a change of a file, or commands."""

    path: str  # the first path that the step names
    language: str  # "python" and "toml": text of the file; "diff": a change; "bash": commands
    text: str


def recipes() -> dict[str, list[Block]]:
    """The blocks of each recipe, by what it adds: "rule", "detector", ..."""
    sections = re.findall(r"^## Adding an? (.+?)\n(.*?)(?=^## )", PAGE, re.DOTALL | re.MULTILINE)
    return {name: _blocks(text) for name, text in sections}


def _blocks(section: str) -> list[Block]:
    blocks = []
    for step in STEP.split(section)[1:]:
        path = re.search(r"`([\w/.]+\.\w+)`", step)
        for language, text in BLOCK.findall(step):
            blocks.append(Block(path[1] if path else "", language, textwrap.dedent(text)))
    return blocks


def apply(blocks: list[Block], project: Path) -> None:
    """Create and change the files of a recipe; commands are not run."""
    for block in blocks:
        file = project / block.path
        if block.language == "diff":
            file.write_text(patched(file.read_text(encoding="utf-8"), block.text), encoding="utf-8")
        elif block.language != "bash":
            before = f"{file.read_text(encoding='utf-8')}\n" if file.exists() else ""
            file.write_text(before + block.text, encoding="utf-8")


def patched(text: str, diff: str) -> str:
    """A text after a diff, whose parts are separated by @@ and begin with context.

    Raises:
        ValueError: the text does not contain a part's context once.
    """
    for hunk in HUNKS.split(diff):
        lines = hunk.splitlines(keepends=True)
        context = "".join(line[1:] for line in lines if line[0] == " ")
        if text.count(context) != 1:
            raise ValueError(f"{text.count(context)} places have this context:\n{context}")
        text = text.replace(context, "".join(line[1:] for line in lines))
    return text


def commands(blocks: list[Block], program: str) -> list[list[str]]:
    """The arguments of a recipe's commands of one program: "pytest", "python" or "betaplane"."""
    lines = [
        line for block in blocks if block.language == "bash" for line in block.text.splitlines()
    ]
    return [words[1:] for words in map(shlex.split, lines) if words[0] == program]
