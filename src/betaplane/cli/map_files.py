"""Write the picture and the page of a map."""

from __future__ import annotations

from pathlib import Path

from betaplane import figures
from betaplane.cli.files import file_name, write_each
from betaplane.errors import BadInput
from betaplane.maps import PhaseMap


def write_map(
    phase_map: PhaseMap, folder: Path, name: str = ""
) -> tuple[dict[str, str], BadInput | None]:
    """Write the files of a map.

    Args:
        phase_map: the map.
        folder: the folder for them.
        name: their name without a suffix; by default the problem and the axes.

    Returns:
        The paths of the files that were written, by "picture" and "page", and the first error, for
        the caller to raise at its end.
    """
    stem = file_name(name or f"{phase_map.problem}-{phase_map.x.name}-{phase_map.y.name}")
    files = {"picture": folder / f"{stem}.png", "page": folder / f"{stem}.html"}
    contents = {
        files["picture"]: figures.png(phase_map),
        files["page"]: figures.html(phase_map).encode(),
    }
    written, error = write_each(contents)
    return {kind: str(path) for kind, path in files.items() if path in written}, error
