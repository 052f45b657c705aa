"""Counterfactual replay: would other settings have avoided a spike in the last steps?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from betaplane.monitor.capture.adam_state import StepValues
from betaplane.monitor.quantities.formulas import debias, update
from betaplane.monitor.recorders.ring_buffer import RecordedSteps

MIN_STEPS = 8  # half of them for the normal band, half for the spike
BAND_DEVIATIONS = 3.0  # standard deviations of log update size up to the top of the normal band
# lower limit of this deviation: a few smooth steps underestimate it
MIN_LOG_DEVIATION = 0.1


class Outcome(NamedTuple):
    """The result of one alternative."""

    name: str  # the change, as a user would write it
    change: dict[str, Any]  # the change as data, as in `Alert.remedy`
    peak: float  # the largest update of the later half over the top of the normal band
    averts: bool  # whether that is at most 1


class Replayed(NamedTuple):
    """A spike under the run's own settings and under the alternatives."""

    actual: float  # as `Outcome.peak`, for the run's own settings; above 1 there is a spike
    outcomes: list[Outcome]  # the alternatives, best first
    band: float  # top of the normal band, weight units
    sizes: list[float]  # the RMS of lr times update at every recorded step, weight units

    @property
    def best(self) -> Outcome | None:
        """The alternative with the smallest update, if there is a spike and it avoids the spike."""
        first = self.outcomes[0]
        return first if self.actual > 1 and first.averts else None

    def __str__(self) -> str:
        if self.actual <= 1:
            return "the update stayed in its normal band"
        within = ", ".join(
            f"{outcome.name} {outcome.peak:.2f}" for outcome in self.outcomes if outcome.averts
        )
        return (
            f"update {self.actual:.2f} x its normal band; within it: {within or 'no alternative'}"
        )

    def row(self, layer: str, last: int) -> dict[str, Any]:
        """The replay as JSON-compatible data, with the replayed tensor and its last step."""
        outcomes = [outcome._asdict() for outcome in self.outcomes]
        for outcome in outcomes:
            if "skip" in outcome["change"]:
                outcome["change"] = {"skip": last + 1 + outcome["change"]["skip"]}
        return {
            "layer": layer,
            "last": last,
            "actual": self.actual,
            "band": self.band,
            "sizes": self.sizes,
            "outcomes": outcomes,
        }


class Alternative(NamedTuple):
    """Settings to replay."""

    name: str
    change: dict[str, Any]  # a skipped step counts from the end, -1 for the last
    values: StepValues
    clip: float = math.inf
    skip: int = -1


def replay(recorded: RecordedSteps, remedy: Mapping[str, Any] | None = None) -> Replayed | None:
    """Replay recorded steps under each alternative; None for fewer than 8 steps.

    The normal band comes from the first half of the steps: the mean of log RMS plus three standard
    deviations. It is the band of the run as it was, or that of the alternative if it is higher,
    because another memory has other normal sizes. The replay assumes that the weights move as they
    did: it ignores how the change would have affected later gradients.

    Args:
        recorded: consecutive steps of one tensor's sample, with the spike in the later half.
        remedy: another change to replay, as `Alert.remedy`; only its lr, betas and eps are used.

    Example:
        >>> calm = torch.randn(40, 50, generator=torch.Generator().manual_seed(0))
        >>> calm[30:] *= 100.0
        >>> values = StepValues(0.1, 0.9, 0.999, 1e-8)
        >>> replayed = replay(RecordedSteps(calm, torch.zeros(50), torch.ones(50), 1e4, values))
        >>> replayed.actual > 3, "update clipping at 1" in [outcome.name for outcome in replayed.outcomes]
        (True, True)
    """
    if len(recorded.g) < MIN_STEPS or not bool(recorded.g.isfinite().all()):
        return None
    sizes = update_sizes(recorded, recorded.values)
    half = len(sizes) // 2
    band = _band(sizes)
    outcomes = []
    for alternative in alternatives(recorded, remedy or {}):
        other_sizes = update_sizes(recorded, alternative.values, alternative.clip, alternative.skip)
        peak = float(other_sizes[half:].max()) / max(band, _band(other_sizes))
        outcomes.append(Outcome(alternative.name, alternative.change, peak, peak <= 1))
    outcomes.sort(key=lambda outcome: outcome.peak)
    return Replayed(float(sizes[half:].max()) / band, outcomes, band, sizes.tolist())


def _band(sizes: Tensor) -> float:
    """The top of the normal band, from the first half of the update sizes."""
    logs = sizes[: len(sizes) // 2].clamp_min(1e-30).log()
    deviation = max(float(logs.std()), MIN_LOG_DEVIATION)
    return math.exp(float(logs.mean()) + BAND_DEVIATIONS * deviation)


def alternatives(recorded: RecordedSteps, remedy: Mapping[str, Any]) -> list[Alternative]:
    """The alternatives: a half and a tenth of v's memory, two other eps, half of lr, the remedy,
    update clipping, and skipping the largest gradient.

    Args:
        recorded: the recorded steps.
        remedy: its lr, betas and eps are one alternative.
    """
    values = recorded.values
    _, root = debias(recorded.m, recorded.v, max(recorded.t, 1.0), values.beta1, values.beta2)
    half, tenth = (round(max(0.0, 1 - times * (1 - values.beta2)), 12) for times in (2, 10))
    large_eps = float(f"{max(float(root.median()), 10 * values.eps):.2g}")
    changes: list[dict[str, float]] = [
        {"beta2": half},
        {"beta2": tenth},
        {"eps": large_eps},
        {"eps": values.eps / 100},
        {"lr": values.lr / 2},
    ]
    proposed = {name: value for name, value in remedy.items() if name in values._fields}
    if proposed and proposed not in changes:
        changes.append(proposed)
    largest = int(recorded.g.square().mean(1).argmax())
    return [
        *(
            Alternative(_as_written(change, proposed), change, values._replace(**change))
            for change in changes
        ),
        Alternative("update clipping at 1", {"clip": 1.0}, values, clip=1.0),
        Alternative(
            "the largest gradient skipped",
            {"skip": largest - len(recorded.g)},
            values,
            skip=largest,
        ),
    ]


def _as_written(change: dict[str, float], proposed: dict[str, float]) -> str:
    text = ", ".join(f"{name}={value:.6g}" for name, value in change.items())
    return f"{text} (the remedy)" if change == proposed else text


def update_sizes(
    recorded: RecordedSteps, values: StepValues, clip: float = math.inf, skip: int = -1
) -> Tensor:
    """The RMS of lr times Adam's update at every recorded step, (K,), weight units.

    Args:
        recorded: the recorded steps.
        values: lr, betas and eps of the replay.
        clip: limit of the update's RMS in units of lr (Shazeer and Stern, 2018, arXiv:1804.04235,
            section 5).
        skip: the step to skip, counted from 0; -1 for none.
    """
    rms = updates(recorded, values, skip).square().mean(1).sqrt()
    return values.lr * rms.clamp_max(clip)


def updates(recorded: RecordedSteps, values: StepValues, skip: int = -1) -> Tensor:
    """Adam's updates at every recorded step, (K, n), units of lr; see `update_sizes`."""
    _, beta1, beta2, eps = values
    m, v, t = recorded.m, recorded.v, recorded.t
    replayed = []
    for i, g in enumerate(recorded.g):
        if i == skip:
            replayed.append(torch.zeros_like(g))
            continue
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g.square()
        t += 1
        replayed.append(update(*debias(m, v, t, beta1, beta2), eps))
    return torch.stack(replayed)


def second_moment_roots(recorded: RecordedSteps) -> Tensor:
    """The square root of v after every recorded step, (K, n), gradient units."""
    beta2 = recorded.values.beta2
    v = recorded.v
    roots = []
    for g in recorded.g:
        v = beta2 * v + (1 - beta2) * g.square()
        roots.append(v.sqrt())
    return torch.stack(roots)
