"""What a command prints: complete lines as they arrive, the last ones, and losses among them."""

from __future__ import annotations

import re
from collections import deque

from betaplane.problems.commands.loss_values import parse_loss

TAIL_LINES = 20  # kept of each stream, for messages
MAX_LINE_BYTES = 2**20  # a longer line is cut: progress bars without line ends


class LineBuffer:
    """The lines of one stream.

    Carriage returns, with which progress bars rewrite their line, end a line too.
    """

    def __init__(self) -> None:
        self._rest = b""
        self.new: list[str] | None = None  # complete lines that were not taken; None: not collected
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    def feed(self, data: bytes) -> None:
        """Add bytes that were read."""
        *lines, rest = re.split(rb"[\r\n]+", self._rest + data)
        self._rest = rest[-MAX_LINE_BYTES:]
        self._add(lines)

    def end(self) -> None:
        """Take the rest, which has no line end, as a line."""
        self._add([self._rest])
        self._rest = b""

    def _add(self, lines: list[bytes]) -> None:
        decoded = [line.decode("utf-8", "replace") for line in lines if line]
        if self.new is not None:
            self.new += decoded
        self.tail.extend(decoded)

    def take(self) -> list[str]:
        """The complete lines since the last call; the first call starts to collect them."""
        lines, self.new = self.new, []
        return lines or []


class Streams:
    """The two streams of a command."""

    def __init__(self) -> None:
        self.stdout = LineBuffer()
        self.stderr = LineBuffer()


class MatchingLines:
    """Losses in the lines of a stream that match a regular expression.

    The group named "loss" is the number, or the first group.
    """

    def __init__(self, streams: Streams, form: str, pattern: re.Pattern[str]) -> None:
        self.form = form
        self.lines: LineBuffer = getattr(streams, form)
        self.lines.take()
        self.pattern = pattern
        self.group: str | int = "loss" if "loss" in pattern.groupindex else 1

    def read(self, ended: bool) -> list[float]:
        """The losses of the lines since the last call."""
        matches = map(self.pattern.search, self.lines.take())
        where = f"a line of {self.form}"
        return [parse_loss(match[self.group], f"{where}: {match[0]}") for match in matches if match]

    def missing(self) -> str:
        """Why there are no losses."""
        last = " / ".join([*self.lines.tail][-3:]) or "nothing"
        return f"no line of {self.form} matches {self.pattern.pattern!r}; it ends with: {last}"
