"""The layers and the files of the package, each with the first line of its docstring; and CONTRIBUTING.md."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

from tools.site.markdown import prose, table

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "betaplane"
HEAD = """\
# Files

Every file of `src/betaplane`, with the first line of its docstring. `make docs` makes this list from the source.
"""


def generate() -> dict[str, str]:
    """The pages, by their path in docs/."""
    return {"files.md": files(), "contributing.md": contributing()}


def contributing() -> str:
    """CONTRIBUTING.md; inside of a numbered list Python-Markdown requires four blanks, and GitHub three."""
    return re.sub(
        "^   ", "    ", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )


def files() -> str:
    """Every file, by folder."""
    folders: dict[Path, list[Path]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        folders.setdefault(path.parent, []).append(path)
    return "\n\n".join(
        [HEAD, *(_section(folder, paths) for folder, paths in sorted(folders.items()))]
    )


def layers() -> str:
    """The table of layers, from the contract that import-linter checks; the highest layer is first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]
    rows = next(
        contract["layers"] for contract in settings["contracts"] if contract["type"] == "layers"
    )
    numbered = zip(reversed(range(len(rows))), rows, strict=True)
    lines = [(layer, name) for layer, names in numbered for name in names.split(" | ")]
    return table(
        ("layer", "package", "contents"),
        [(layer, f"`{name}`", _about(name)) for layer, name in lines],
    )


def _about(name: str) -> str:
    folder = SOURCE / name
    return prose(
        _first_line(folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py"))
    )


def _section(folder: Path, paths: list[Path]) -> str:
    title = folder.relative_to(SOURCE.parent).as_posix()
    rows = [
        (f"`{path.name}`", prose(_first_line(path))) for path in paths if path.name != "__init__.py"
    ]
    about = prose(_first_line(folder / "__init__.py"))
    return f"## {title}\n\n{about}\n\n{table(('file', 'contents'), rows) if rows else ''}"


def _first_line(path: Path) -> str:
    docstring = (
        ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) if path.exists() else None
    )
    return (docstring or "").split("\n")[0]
