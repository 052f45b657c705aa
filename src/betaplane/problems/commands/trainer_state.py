"""Losses in the `trainer_state.json` of Hugging Face's Trainer."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

NAME = "trainer_state.json"


class TrainerState:
    """The training losses of the newest state in an output folder or in its checkpoints.

    States that existed before the run are not read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._before = self._files()
        self._seen: tuple[int, Path] | None = None
        self._count = 0

    def read(self, ended: bool) -> list[float]:
        """The losses since the last call."""
        files = self._files()
        new = [(time, path) for path, time in files.items() if self._before.get(path) != time]
        if not new or (newest := max(new)) == self._seen:
            return []
        state: dict[str, Any] = {}
        with suppress(OSError, ValueError):  # half written: read again at the next call
            state = json.loads(newest[1].read_text(encoding="utf-8"))
            self._seen = newest
        losses = [float(row["loss"]) for row in state.get("log_history", []) if "loss" in row]
        unread, self._count = losses[self._count :], max(self._count, len(losses))
        return unread

    def _files(self) -> dict[Path, int]:
        paths = [self.folder / NAME, *self.folder.glob(f"checkpoint-*/{NAME}")]
        times = {}
        for path in paths:
            with suppress(OSError):
                times[path] = path.stat().st_mtime_ns
        return times

    def missing(self) -> str:
        """Why there are no losses."""
        if not self._files():
            return f"there is no {NAME} in {str(self.folder)!r} or its checkpoints"
        return f"no {NAME} in {str(self.folder)!r} has a training loss: set logging_steps"
