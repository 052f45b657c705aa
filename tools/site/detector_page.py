"""The table of causes that a watched run is checked for, from `betaplane.monitor.detectors`."""

from __future__ import annotations

from betaplane.monitor.detectors import ALL, THRESHOLDS, Detector, Threshold
from tools.site.markdown import prose, table

HEAD = """\
# Causes and thresholds

What `betaplane.watch` checks, in order of trust: if several causes fire at one step, the first one
is reported. Rules that look at the loss run at each loss, also without an optimizer step; rules that
look at gradient norms at each step whose gradients were measured, as many as the time budget allows;
the others at each reading of the optimizer's state. `betaplane report --rules`
lists the ids by which `watch(..., mute=[...])` leaves a rule out.
[My loss spikes](guides/loss-spikes.md) shows an alert, and
[Benchmarks](benchmarks.md#watched-runs) how many of them are right. `make docs` makes this page from
the detectors and their thresholds, `src/betaplane/monitor/detectors/thresholds.toml`.
"""
COLUMNS = ("quantity", "threshold", "unit", "reason")


def generate() -> dict[str, str]:
    """The page, by its path in docs/."""
    rows = [
        (detector.cause, f"`{detector.id}`", detector.when, *_row(detector.limit))
        for detector in ALL
    ]
    overview = table(("cause", "rule", "looks at", *COLUMNS), rows)
    return {"detectors.md": "\n\n".join([HEAD, overview, *map(_section, ALL)]) + "\n"}


def _section(detector: Detector) -> str:
    """A cause with all its thresholds, the deciding one first."""
    thresholds = THRESHOLDS[detector.cause].values()
    return "\n\n".join(
        [
            f"## {detector.cause}",
            prose(detector.why),
            table(COLUMNS, [_row(threshold) for threshold in thresholds]),
            f"Source: {prose(detector.source)}.",
        ]
    )


def _row(threshold: Threshold) -> tuple[str, str, str, str]:
    return (
        prose(threshold.quantity),
        f"{threshold.value:g}",
        prose(threshold.unit),
        prose(threshold.reason),
    )
