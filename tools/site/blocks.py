"""Run the code blocks of a page in order, and compare or rewrite the outputs that the page shows.

A fenced block of `python` or `bash` is run; all Python blocks of a page share their names. A block
that starts with a comment such as `# my_problem.py` becomes that file. A block of `output` right after a
code block is what it prints; with a title it is an example that may differ. Output that is Markdown
is between `<!-- output -->` and `<!-- end of output -->`. `<!-- slow: reason -->` before a block
runs it in the slow tests only.

    python -m tools.site.blocks docs/guides/resume.md ...    rewrites the outputs of pages, or of all
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(
    r"(?:<!-- (?P<mark>slow|not run): (?P<reason>[^\n]+) -->\n)?"
    r"```(?P<language>python|bash)\n(?P<code>.*?)```\n"
    r"(?:\n```output(?P<title> title=[^\n]+)?\n(?P<output>.*?)```\n"
    r"|\n<!-- output -->\n\n(?P<rendered>.*?)\n<!-- end of output -->\n)?",
    re.DOTALL,
)
FILE = re.compile(r"# (\w+\.py)\n")


@dataclass(frozen=True)
class Block:
    """A code block of a page, and the output that the page shows."""

    language: str
    code: str
    mark: str | None  # "slow", "not run" or None
    output: str | None  # what the page shows
    may_differ: bool
    place: tuple[int, int]  # of the output in the text of the page


def blocks(text: str) -> list[Block]:
    """The code blocks of a page, in order."""
    return [
        Block(m["language"], m["code"], m["mark"], m[output], bool(m["title"]), m.span(output))
        for m in BLOCK.finditer(text)
        for output in ("output" if m["rendered"] is None else "rendered",)
    ]


def run_blocks(text: str, folder: Path, slow: bool = False) -> Iterator[tuple[Block, str]]:
    """Run the blocks of a page in a folder, and give each with what it prints."""
    names: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.chdir(folder):
        for block in blocks(text):
            if block.mark == "not run" or (block.mark == "slow" and not slow):
                continue
            yield block, _run(block, names)


def _run(block: Block, names: dict[str, Any]) -> str:
    if file := FILE.match(block.code):
        Path(file[1]).write_text(block.code, encoding="utf-8")
        return ""
    return _run_python(block.code, names) if block.language == "python" else _run_bash(block.code)


def _run_python(code: str, names: dict[str, Any]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "<page>", "exec"), names)
    return _clean(printed.getvalue())


def _run_bash(code: str) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    modules = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {
        **os.environ,
        "PATH": path,
        "PYTHONPATH": modules,
        "COLUMNS": "80",
        "PYTHONWARNINGS": "error",
    }
    ran = subprocess.run(
        ["bash", "-euc", code], env=environment, capture_output=True, text=True, timeout=600
    )
    if ran.returncode:
        raise RuntimeError(f"{code}\n{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}")
    return _clean(ran.stdout)


def _clean(printed: str) -> str:
    """What was printed, without blanks at the ends of lines or blank lines around it."""
    lines = "\n".join(line.rstrip() for line in printed.splitlines())
    return lines.strip("\n") + "\n"


def rewritten(text: str, folder: Path) -> str:
    """The page with the outputs that its blocks print now."""
    for block, printed in reversed(list(run_blocks(text, folder, slow=True))):
        if block.output is not None:
            start, end = block.place
            text = text[:start] + printed + text[end:]
    return text


def main() -> None:
    """Rewrite the outputs of the pages that are named, or of all."""
    for page in [Path(name).resolve() for name in sys.argv[1:]] or PAGES:
        with tempfile.TemporaryDirectory() as folder:
            text = page.read_text(encoding="utf-8")
            page.write_text(rewritten(text, Path(folder)), encoding="utf-8")
        print(page)


if __name__ == "__main__":
    main()
