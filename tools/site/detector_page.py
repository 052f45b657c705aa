"""The table of causes that a watched run is checked for, from `betaplane.monitor.detectors.ALL`."""

from __future__ import annotations

from betaplane.monitor.detectors import ALL, Detector
from tools.site.markdown import prose, table

HEAD = """\
# Causes and thresholds

What `betaplane.watch` checks at each reading, in order of trust: if several causes fire at one step,
the first one is reported. [My loss spikes](guides/loss-spikes.md) shows an alert, and
[Benchmarks](benchmarks.md#watched-runs) how many of them are right. `make docs` makes this page from
the detectors.
"""


def generate() -> dict[str, str]:
    """The page, by its path in docs/."""
    rows = [(one.cause, f"{one.threshold:g}", prose(one.reason)) for one in ALL]
    thresholds = table(("cause", "threshold", "unit and reason"), rows)
    return {"detectors.md": "\n\n".join([HEAD, thresholds, *map(_section, ALL)]) + "\n"}


def _section(detector: Detector) -> str:
    return f"## {detector.cause}\n\n{prose(detector.why)}\n\nSource: {prose(detector.source)}."
