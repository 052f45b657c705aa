"""The folder of one run, which `{run}` stands for."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from betaplane.errors import BadInput


@contextmanager
def run_folder(runs: Path | None, temporary: Path, values: Mapping[str, str]) -> Iterator[Path]:
    """A new folder.

    Args:
        runs: the folder that keeps it. None: it is removed at the end of the block.
        temporary: the folder of those that are removed.
        values: the settings of the run; a folder that is kept is named by them.

    Raises:
        BadInput: it cannot be made.
    """
    try:
        if runs is None:
            folder = Path(tempfile.mkdtemp(dir=temporary))
        else:
            folder = _new_folder(runs, ",".join(f"{k}={v}" for k, v in values.items()))
    except OSError as error:
        raise BadInput(
            f"The folder of the run cannot be made ({error.strerror})",
            value=str(runs or temporary),
            allowed="a folder that can be written",
            where="runs",
            instead='runs="out/runs"',
        ) from error
    try:
        yield folder
    finally:
        if runs is None:
            shutil.rmtree(folder, ignore_errors=True)


def _new_folder(runs: Path, name: str) -> Path:
    """A folder with this name, numbered if there is one: an earlier run may have been killed."""
    runs.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        folder = runs.absolute() / (name if number == 1 else f"{name}.{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            continue
    raise AssertionError


def move_aside(path: Path) -> None:
    """Rename a file that exists before the run, so that its losses are not read and none are lost."""
    if not path.is_file():
        return
    for number in count(1):
        aside = path.with_name(f"{path.name}.{number}")
        if not aside.exists():
            path.rename(aside)
            return
