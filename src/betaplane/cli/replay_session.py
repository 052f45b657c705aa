"""One call of `betaplane replay`: from the file to maps, a table of layers and output files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from betaplane import figures
from betaplane.cli.files import make_folder
from betaplane.cli.map_files import write_map
from betaplane.cli.progress import DelayedProgress
from betaplane.cli.tables import borderless
from betaplane.errors import BadInput
from betaplane.maps import PhaseMap, predict_map
from betaplane.replay import Replay, horizons, load, predicted, replay_gradients
from betaplane.replay.export import VERDICT_NAMES, to_json
from betaplane.text import format_beta

MAX_LAYERS = 12  # in the table
TABLE_BETAS = (0.9, 0.999)  # the table shows the cell nearest to these
MAX_HORIZONS = (100, 10_000)  # steps, of the axes of beta1 and beta2


class ReplaySession:
    """The recording, the grid and the output folder that all maps of a call share."""

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int],
        eps: float,
        own_betas: dict[str, float] | None,
        out: Path,
        as_json: bool,
    ) -> None:
        self.stream = load(path)
        self.path = path
        self.eps = eps
        self.own_betas = own_betas
        self.axes = [horizons(*pair) for pair in zip(MAX_HORIZONS, shape, strict=True)]
        self.out = out
        self.as_json = as_json
        self.console = Console(highlight=False, markup=False)
        self.error: BadInput | None = None  # the first file that could not be written

    def run(self, batch_sizes: Sequence[int | None]) -> None:
        """Make a map for each batch size; all are computed before anything is written."""
        replays = [self._replay(size) for size in batch_sizes]
        make_folder(self.out)
        maps = [self._show(replay) for replay in replays]
        if self.as_json:
            print(json.dumps({"maps": maps}))
        if self.error:
            raise self.error

    def _replay(self, batch_size: int | None) -> Replay:
        with DelayedProgress("replaying") as watch:
            return replay_gradients(
                self.stream, *self.axes, eps=self.eps, batch_size=batch_size, watch=watch
            )

    def _show(self, replay: Replay) -> dict[str, Any] | None:
        """Write the picture and the page; print the map, or return its data for JSON."""
        problem = replay.stream.about.get("problem", self.path.stem)
        phase_map = predict_map(replay, problem, self.own_betas)
        files = self._write(replay, phase_map)
        if self.as_json:
            return {**to_json(replay), "files": [*files.values()]}
        self.console.print(figures.terminal(phase_map))
        self.console.print(figures.summary(phase_map))
        self.console.print(_layers(replay))
        notes = {k: phase_map.facts[k] for k in ("batch", "warning") if k in phase_map.facts}
        for name, text in {**notes, **files}.items():
            self.console.print(f"{name:>8}  {text}", soft_wrap=True)
        return None

    def _write(self, replay: Replay, phase_map: PhaseMap) -> dict[str, str]:
        """Paths of the picture and the page, if they could be written."""
        stream = replay.stream
        suffix = f"-batch{stream.batch_size}" if stream.changed else ""
        files, error = write_map(phase_map, self.out, f"{self.path.stem}{suffix}-predicted")
        self.error = self.error or error
        return files


def _layers(replay: Replay) -> Table:
    """The layers with the highest cost at Adam's default betas."""
    axes = (replay.beta1, replay.beta2)
    i, j = (
        int(np.argmin(np.abs(axis - beta))) for axis, beta in zip(axes, TABLE_BETAS, strict=True)
    )
    cell = f"({format_beta(replay.beta1[i])}, {format_beta(replay.beta2[j])})"
    numbers = ("cost", "cosine", "update RMS", "largest", "noise", "v < eps^2")
    table = borderless(f"layer, at {cell}", "verdict", right=numbers, header_style="dim")
    costs = {name: np.nan_to_num(q.cost[i, j], nan=-1.0) for name, q in replay.layers.items()}
    for name in sorted(costs, key=lambda name: -costs[name])[:MAX_LAYERS]:
        q = replay.layers[name]
        values = (q.cost[i, j], q.cosine[i, j], q.rms[i, j], q.largest[i, j], q.noise)
        table.add_row(
            Text(name),
            VERDICT_NAMES[predicted(replay, name)[i, j]],
            *("-" if np.isnan(value) else f"{value:.3g}" for value in values),
            f"{q.below[j]:.0%}",
        )
    return table
