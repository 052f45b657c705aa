"""One call of `betaplane replay`: from the file to maps, a table of layers and files."""

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
from betaplane.cli.files import file_name, make_folder, write_each
from betaplane.cli.progress import DelayedProgress
from betaplane.errors import BadInput
from betaplane.maps import predict_map
from betaplane.replay import Replay, horizons, load, predicted, replay_gradients
from betaplane.replay.export import WORDS, to_json
from betaplane.text import format_beta

MOST = 12  # layers in the table
AT = (0.9, 0.999)  # the betas the table speaks of


class Replaying:
    """What one call shares: the recording, the grid, where files go."""

    def __init__(
        self,
        path: Path,
        points: tuple[int, int],
        eps: float,
        mine: dict[str, float] | None,
        out: Path,
        as_json: bool,
    ) -> None:
        self.stream, self.path, self.eps, self.mine = load(path), path, eps, mine
        self.axes = horizons(100, points[0]), horizons(10_000, points[1])
        self.out, self.as_json = out, as_json
        self.console = Console(highlight=False, markup=False)
        self.failed: BadInput | None = None  # the first file that could not be written

    def run(self, sizes: Sequence[int | None]) -> None:
        """A map for each batch size; all are computed before anything is written."""
        replays = [self._replay(size) for size in sizes]
        make_folder(self.out)
        told = [self._show(replay) for replay in replays]
        if self.as_json:
            print(json.dumps({"maps": told}))
        if self.failed:
            raise self.failed

    def _replay(self, size: int | None) -> Replay:
        with DelayedProgress("replaying") as watch:
            return replay_gradients(
                self.stream, *self.axes, eps=self.eps, batch_size=size, watch=watch
            )

    def _show(self, replay: Replay) -> dict[str, Any] | None:
        """Write the picture and the page; print the map, or return it for JSON."""
        phase_map = predict_map(
            replay, replay.stream.about.get("problem", self.path.stem), self.mine
        )
        size = f"-batch{replay.stream.batch_size}" if replay.stream.changed else ""
        stem = file_name(f"{self.path.stem}{size}-predicted")
        files = {"picture": self.out / f"{stem}.png", "page": self.out / f"{stem}.html"}
        contents = {
            files["picture"]: figures.png(phase_map),
            files["page"]: figures.html(phase_map).encode(),
        }
        written, failed = write_each(contents)
        self.failed = self.failed or failed
        if self.as_json:
            return {**to_json(replay), "files": [str(path) for path in written]}
        self.console.print(figures.terminal(phase_map))
        self.console.print(figures.summary(phase_map))
        self.console.print(_layers(replay))
        for what in ("batch", "warning"):
            if what in phase_map.facts:
                self.console.print(
                    f"{what:>8}  {phase_map.facts[what]}", soft_wrap=True, markup=False
                )
        for what, path in ((what, path) for what, path in files.items() if path in written):
            self.console.print(f"{what:>8}  {path}", soft_wrap=True)
        return None


def _layers(replay: Replay) -> Table:
    """The layers with the highest cost at Adam's defaults, and what holds there."""
    i, j = (
        int(np.argmin(np.abs(axis - at)))
        for axis, at in zip((replay.beta1, replay.beta2), AT, strict=True)
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    at = f"({format_beta(replay.beta1[i])}, {format_beta(replay.beta2[j])})"
    for head in (
        f"layer, at {at}",
        "verdict",
        "cost",
        "cosine",
        "update RMS",
        "largest",
        "noise",
        "v < eps^2",
    ):
        table.add_column(head, justify="left" if head.startswith(("layer", "verdict")) else "right")
    order = sorted(
        replay.layers, key=lambda name: -np.nan_to_num(replay.layers[name].cost[i, j], nan=-1.0)
    )
    for name in order[:MOST]:
        q = replay.layers[name]
        numbers = (q.cost[i, j], q.cosine[i, j], q.rms[i, j], q.largest[i, j], q.noise)
        verdict = WORDS[predicted(replay, name)[i, j]]
        table.add_row(
            Text(name),
            verdict,
            *("-" if np.isnan(number) else f"{number:.3g}" for number in numbers),
            f"{q.below[j]:.0%}",
        )
    return table
