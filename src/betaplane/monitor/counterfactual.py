"""What would have averted a spike: the last steps replayed under other settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from betaplane.monitor.capture.adam_state import StepValues
from betaplane.monitor.quantities.formulas import debiased, update
from betaplane.monitor.recorders.ring_buffer import RecordedSteps

LEAST = 8  # steps in a replay: half of them to say what is normal, half for the spike
CALM = 3.0  # standard deviations of the calm half's log sizes that the normal band reaches up to
# the least such deviation: over few steps of a smooth run the measured one is too small to judge by
WIDTH = 0.1


class Outcome(NamedTuple):
    """One alternative, replayed."""

    name: str  # what is changed, as it would be written
    change: dict[str, Any]  # the same as data, as `Alert.remedy`
    # the largest RMS of lr times update in the later half, over the top of the normal band; see
    # `replay`
    peak: float
    averts: bool  # whether that is at most 1


class Replayed(NamedTuple):
    """A spike under the run's own settings and under the alternatives."""

    actual: float  # as `Outcome.peak`; above 1 there is something to avert
    outcomes: list[Outcome]  # the alternatives, best first
    band: float  # top of the normal band, weight units
    sizes: list[float]  # the RMS of lr times update at every kept step, weight units

    @property
    def best(self) -> Outcome | None:
        """The alternative that would have kept the update smallest, if it would have kept it in its
        band.
        """
        first = self.outcomes[0]
        return first if self.actual > 1 and first.averts else None

    def __str__(self) -> str:
        if self.actual <= 1:
            return "the update stayed in its normal band"
        told = ", ".join(f"{each.name} {each.peak:.2f}" for each in self.outcomes if each.averts)
        return f"update {self.actual:.2f} x its normal band; within it: {told or 'no alternative'}"

    def row(self, layer: str, last: int) -> dict[str, Any]:
        """The replay as plain words and numbers, with the tensor that was replayed and its last
        step.
        """
        outcomes = [each._asdict() for each in self.outcomes]
        for each in outcomes:
            if "skip" in each["change"]:
                each["change"] = {"skip": last + 1 + each["change"]["skip"]}
        return {
            "layer": layer,
            "last": last,
            "actual": self.actual,
            "band": self.band,
            "sizes": self.sizes,
            "outcomes": outcomes,
        }


def replay(past: RecordedSteps, remedy: Mapping[str, Any] | None = None) -> Replayed | None:
    """Replay the kept steps under each alternative; None where fewer than 8 steps are kept.

    The normal band is what the first half of the steps shows: the mean of log RMS plus three standard deviations. It is
    that of the run as it was, or as changed where that is higher, for with another memory other sizes are normal.
    Weights are taken to move as they did: what else the change would have done to the gradients is not in it.

    Args:
        past: consecutive steps of one tensor's sample, the spike among the later half.
        remedy: a change to replay with the others, as `Alert.remedy`; only its lr, betas and eps are.

    Example:
        >>> calm = torch.randn(40, 50, generator=torch.Generator().manual_seed(0))
        >>> calm[30:] *= 100.0
        >>> found = replay(RecordedSteps(calm, torch.zeros(50), torch.ones(50), 1e4, StepValues(0.1, 0.9, 0.999, 1e-8)))
        >>> found.actual > 3, "update clipping at 1" in [each.name for each in found.outcomes]
        (True, True)
    """
    if len(past.g) < LEAST or not bool(past.g.isfinite().all()):
        return None
    usual = sizes(past, past.numbers)
    half, band, found = len(usual) // 2, _band(usual), []
    for name, change, how in alternatives(past, remedy or {}):
        other = sizes(past, **how)
        peak = float(other[half:].max()) / max(band, _band(other))
        found.append(Outcome(name, change, peak, peak <= 1))
    found.sort(key=lambda each: each.peak)
    return Replayed(float(usual[half:].max()) / band, found, band, usual.tolist())


def _band(usual: Tensor) -> float:
    """The top of what the first half of some sizes shows to be normal."""
    logs = usual[: len(usual) // 2].clamp_min(1e-30).log()
    return math.exp(float(logs.mean()) + CALM * max(float(logs.std()), WIDTH))


def alternatives(
    past: RecordedSteps, remedy: Mapping[str, Any]
) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """What is tried: half and a tenth of v's memory, clipped updates, other eps, half lr, the worst
    step skipped.

    And what the remedy says of lr, betas and eps, all at once.

    Returns:
        For each its name, the change as data (a skipped step counted from the end, -1 the last), and how it is
        replayed: arguments of `sizes`.
    """
    now = past.numbers
    _, root = debiased(past.m, past.v, max(past.t, 1.0), now.beta1, now.beta2)
    half, tenth = (round(max(0.0, 1 - times * (1 - now.beta2)), 12) for times in (2, 10))
    large, small = float(f"{max(float(root.median()), 10 * now.eps):.2g}"), now.eps / 100
    worst = int(past.g.square().mean(1).argmax())
    settings = [
        {"beta2": half},
        {"beta2": tenth},
        {"eps": large},
        {"eps": small},
        {"lr": now.lr / 2},
    ]
    told = {name: value for name, value in remedy.items() if name in now._fields}
    if told and told not in settings:
        settings.append(told)
    return [
        *(
            (_written(change, told), change, {"numbers": now._replace(**change)})
            for change in settings
        ),
        ("update clipping at 1", {"clip": 1.0}, {"numbers": now, "clip": 1.0}),
        (
            "the largest gradient skipped",
            {"skip": worst - len(past.g)},
            {"numbers": now, "skip": worst},
        ),
    ]


def _written(change: dict[str, float], told: dict[str, float]) -> str:
    return ", ".join(f"{name}={value:.6g}" for name, value in change.items()) + " (the remedy)" * (
        change == told
    )


def sizes(
    past: RecordedSteps, numbers: StepValues, clip: float = math.inf, skip: int = -1
) -> Tensor:
    """The RMS of lr times Adam's update at every kept step, (K,), weight units; as
    `sizes_and_directions`.
    """
    return sizes_and_directions(past, numbers, clip, skip)[0]


def sizes_and_directions(
    past: RecordedSteps, numbers: StepValues, clip: float = math.inf, skip: int = -1
) -> tuple[Tensor, Tensor]:
    """The RMS of lr times Adam's update at every kept step, (K,), weight units; and the updates,
    (K, n), units of lr.

    Args:
        past: the kept steps.
        numbers: lr, betas and eps to replay them under.
        clip: the largest RMS of the update in units of lr (Shazeer and Stern, 2018, arXiv:1804.04235, section 5).
        skip: the step that is left out, counted from 0.
    """
    lr, beta1, beta2, eps = numbers
    m, v, t, found = past.m, past.v, past.t, []
    for i, g in enumerate(past.g):
        if i == skip:
            found.append(torch.zeros_like(g))
            continue
        m, v, t = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g.square(), t + 1
        found.append(update(*debiased(m, v, t, beta1, beta2), eps))
    updates = torch.stack(found)
    return lr * updates.square().mean(1).sqrt().clamp_max(clip), updates


def roots(past: RecordedSteps) -> Tensor:
    """The square root of v after every kept step, (K, n), gradient units."""
    v, found = past.v, []
    for g in past.g:
        v = past.numbers.beta2 * v + (1 - past.numbers.beta2) * g.square()
        found.append(v.sqrt())
    return torch.stack(found)
