"""Check the words of docstrings, comments, messages and Markdown against tools/words.toml.

    python -m tools.words                     forbidden words; exit code 1 if a finished package has one
    python -m tools.words PATH ...            those of some files or folders, finished or not
    python -m tools.words --all PATH ...      also words to avoid, and names that name nothing
    python -m tools.words --count [PATH ...]  figures: words, lines, functions, files

Each line that is printed has the place, the word, and what to write in its place.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).with_suffix(".toml")
MAX_COLUMNS = 100
MAX_FILE_LINES = 300
DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
CODE = re.compile(r"^\s*(?:>>>|\.\.\. ).*$|`[^`\n]*`", re.MULTILINE)  # in a docstring
NOT_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)


@dataclass(frozen=True)
class Text:
    """A docstring, a comment, a string literal, or a line of Markdown."""

    line: int  # of its first line
    content: str
    source: str  # "docstring", "comment", "string" or "markdown"


@dataclass(frozen=True)
class Finding:
    """One word that has a better one."""

    path: Path
    line: int
    word: str
    write: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word!r}: write {self.write}"


class Words:
    """The entries of one table of words.toml."""

    def __init__(self, entries: list[dict[str, str]]) -> None:
        self.entries = [
            (
                re.compile(rf"(?<!\w)(?:{entry['pattern']})(?!\w)", re.IGNORECASE),
                re.compile(entry["except"]) if "except" in entry else None,
                entry["write"],
            )
            for entry in entries
        ]

    def matches(self, content: str) -> Iterator[tuple[int, str, str]]:
        """Offset, word and replacement of every match that no exception covers."""
        for pattern, exception, write in self.entries:
            allowed = [match.span() for match in exception.finditer(content)] if exception else []
            for match in pattern.finditer(content):
                if not any(low < match.end() and match.start() < high for low, high in allowed):
                    yield match.start(), match.group(), write


def texts(path: Path) -> Iterator[Text]:
    """All text of a file that a person reads."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        for number, line in enumerate(source.splitlines(), 1):
            yield Text(number, line, "markdown")
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Text(token.start[0], token.string, "comment")
    yield from _strings(ast.parse(source))


def _strings(tree: ast.Module) -> Iterator[Text]:
    """Docstrings, and literals of more than one word; a formatted string is one text."""
    docstrings = {id(node) for node in _docstrings(tree)}
    inside = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            inside |= {id(part) for part in node.values}
            yield Text(node.lineno, "".join(map(str, parts)), "string")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) in docstrings:
                yield Text(node.lineno, node.value, "docstring")
            elif " " in node.value and id(node) not in inside:
                yield Text(node.lineno, node.value, "string")


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, DEFINITIONS) and ast.get_docstring(node) is not None:
            yield node.body[0].value  # type: ignore[attr-defined]


def findings(path: Path, words: Words) -> list[Finding]:
    """The words of a file that have a better one, in order."""
    place = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    listed = [
        Finding(place, text.line + text.content.count("\n", 0, start), word, write)
        for text in texts(path)
        for start, word, write in words.matches(text.content)
    ]
    return sorted(listed, key=lambda finding: (finding.line, finding.word))


def vague_names(path: Path, names: dict[str, str]) -> Iterator[Finding]:
    """Locals, parameters and functions that are named by a word of the list."""
    place = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        name = _bound_name(node)
        if name.strip("_") in names:
            yield Finding(place, node.lineno, name, names[name.strip("_")])  # type: ignore[attr-defined]


def _bound_name(node: ast.AST) -> str:
    """The name that a node binds, or "" if it binds none."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.FunctionDef(name=name):
            return name
    return ""


def function_lengths(path: Path) -> list[int]:
    """Code lines of each function's body: neither blank, comment nor docstring."""
    source = path.read_text(encoding="utf-8")
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    code = {
        line
        for token in tokens
        if token.type not in NOT_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    return [
        sum(line in code for line in range(body[0].lineno, node.end_lineno + 1))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (body := node.body[ast.get_docstring(node) is not None :])
    ]


def counts(paths: list[Path], word_lists: dict[str, Any]) -> str:
    """The figures of the text and of the code, one per line."""
    python = [path for path in paths if path.suffix == ".py"]
    prose = [CODE.sub(" ", t.content) for p in python for t in texts(p) if t.source == "docstring"]
    total = sum(len(text.split()) for text in prose)
    where = sum(len(re.findall(r"\bwhere\b(?!\()", text, re.IGNORECASE)) for text in prose)
    lines = [line for path in python for line in path.read_text(encoding="utf-8").splitlines()]
    wide = sum(len(line) > MAX_COLUMNS for line in lines)
    lengths = [length for path in python for length in function_lengths(path)] or [0]
    deciles = quantiles(lengths, n=10, method="inclusive") if len(lengths) > 1 else lengths * 9
    long = [(len(path.read_text(encoding="utf-8").splitlines()), path) for path in python]
    return "\n".join(
        [
            f"words of docstring                 {total:,}",
            f"'where' per 1,000 words            {1000 * where / max(total, 1):.1f}",
            f"forbidden words                    {_number(paths, word_lists['forbidden'])}",
            f"words to avoid                     {_number(paths, word_lists['avoid'])}",
            f"'a' for 'per'                      {_number(paths, _rates(word_lists))}",
            f"'stochastic rounding'              {_number(paths, STOCHASTIC)}",
            f"names that name nothing            "
            f"{sum(1 for path in python for _ in vague_names(path, word_lists['names']))}",
            f"lines over {MAX_COLUMNS} columns             {wide} of {len(lines):,}"
            f" ({wide / max(len(lines), 1):.2%})",
            f"code lines per function            median {deciles[4]:.0f}, p90 {deciles[8]:.0f},"
            f" largest {max(lengths)}",
            f"files over {MAX_FILE_LINES} lines",
            *(f"  {n} {path.relative_to(ROOT)}" for n, path in sorted(long) if n > MAX_FILE_LINES),
        ]
    )


STOCHASTIC = [{"pattern": "stochastic(?:ally)? round(?:ing|ed)", "write": ""}]


def _rates(word_lists: dict[str, Any]) -> list[dict[str, str]]:
    return [entry for entry in word_lists["forbidden"] if entry["write"] == "per"]


def _number(paths: list[Path], entries: list[dict[str, str]]) -> int:
    words = Words(entries)
    return sum(len(findings(path, words)) for path in paths)


def files(places: list[str]) -> list[Path]:
    """The Python and Markdown files at or below the places."""
    roots = [(ROOT / place).resolve() for place in places]
    below = [path for root in roots for path in ([root] if root.is_file() else root.rglob("*"))]
    return sorted(path for path in below if path.suffix in (".py", ".md"))


def main() -> int:
    """Print what the arguments ask for; 1 if a finished file has a forbidden word."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.words", description=__doc__.split("\n")[0]
    )
    parser.add_argument("paths", nargs="*", metavar="PATH")
    parser.add_argument("--all", action="store_true", help="also words to avoid, and vague names")
    parser.add_argument("--count", action="store_true", help="print figures only")
    arguments = parser.parse_args()
    word_lists = tomllib.loads(DATA.read_text(encoding="utf-8"))
    exempt = files(word_lists["exempt"])
    paths = [path for path in files(arguments.paths or word_lists["paths"]) if path not in exempt]
    if arguments.count:
        print(counts(paths, word_lists))
        return 0
    pending = [] if arguments.paths else files(word_lists["pending"])
    paths = [path for path in paths if path not in pending]
    words = Words(word_lists["forbidden"] + (word_lists["avoid"] if arguments.all else []))
    listed = [finding for path in paths for finding in findings(path, words)]
    if arguments.all:
        python = [path for path in paths if path.suffix == ".py"]
        listed += [finding for path in python for finding in vague_names(path, word_lists["names"])]
    print(*listed, sep="\n", end="\n" if listed else "")
    return 1 if listed else 0


if __name__ == "__main__":
    raise SystemExit(main())
