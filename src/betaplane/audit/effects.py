"""Tests of the effects of options, and of the steps' dependence on the learning rate."""

from __future__ import annotations

import torch
from torch import Tensor

from betaplane.audit.black_box import ONES, SHAPE, TRIAL_VALUES, BlackBox, finite
from betaplane.audit.contract import other_value, repeatable
from betaplane.audit.probes import NO_DECAY, Finding, near

STEPS = 40
TINY = 1e-5  # factor of gradients at which some lower limits have an effect
LR = 1e-3
# relative tolerance of two paths, whose weights differ
PATH_TOLERANCE = 0.02
OWN_PROBES = ("maximize",)
DEPENDENCE_ON_LR: dict[tuple[float | None, float], tuple[str, bool]] = {
    # factors of a path at half the lr, constructed (None: it cannot be set) and scheduled;
    # whether it is trouble
    (0.5, 0.5): ("steps are proportional to it, as constructed and as scheduled", False),
    (None, 0.5): ("steps are proportional to it, as scheduled", False),
    (1.0, 1.0): ("lr is ignored: steps are as large at half of it", True),
    (None, 1.0): ("lr is ignored when a scheduler changes it", True),
    (0.5, 1.0): (
        "steps follow the lr of the constructor; lr is ignored when a scheduler changes it",
        True,
    ),
    (1.0, 0.5): ("steps follow the schedule of lr and not its value", True),
    (0.25, 0.25): ("steps go as the square of lr", True),
    (None, 0.25): ("steps go as the square of lr, as scheduled", True),
    (0.5**0.5, 0.5**0.5): ("steps go as the square root of lr", True),
}


def options(subject: BlackBox) -> Finding:
    """The options that change the path of a parameter, from two values of each."""
    names = [name for name in TRIAL_VALUES if name in subject.settable and name not in OWN_PROBES]
    if not names:
        return Finding("there are none that can be set")
    if not repeatable(subject):
        return Finding("unknown: two runs of the same steps differ")
    ignored = [name for name in names if _has_no_effect(subject, name)]
    if ignored:
        return Finding(f"without effect, as it is constructed: {', '.join(ignored)}", trouble=True)
    return Finding(f"each has an effect: {', '.join(names)}")


def _has_no_effect(subject: BlackBox, name: str) -> bool:
    """Whether paths are bitwise equal for two values of an option, at two gradient scales."""
    generator = torch.Generator().manual_seed(2)
    x, *g = torch.randn(STEPS + 1, *SHAPE, dtype=torch.float64, generator=generator)
    for scale in (1.0, TINY):
        gradients = [scale * g_t for g_t in g]
        first, second = (
            finite(subject.path(x, gradients, {name: value}).points)
            for value in (other_value(name), TRIAL_VALUES[name])
        )
        if not torch.equal(first, second):
            return False
    return True


def learning_rate(subject: BlackBox) -> Finding:
    """The dependence of a path on lr, from half of it, constructed and scheduled."""
    numbers = subject.path(ONES, (), {"lr": LR}).numbers
    if not numbers.get("lr"):
        return Finding("there is no such option")
    whole = _displacement(subject, LR)
    if not bool(whole.any()):
        return Finding(f"unknown: nothing moves in {len(_gradients())} steps")
    if float((whole[-1] * _gradients().mean(0)).sum()) > 0:
        return Finding("steps go up the gradient, not down", trouble=True)
    scheduled = _multiple(_displacement(subject, LR, 0.5), whole)
    constructed = (
        _multiple(_displacement(subject, LR / 2), whole) if "lr" in subject.settable else None
    )
    if scheduled is None or ("lr" in subject.settable and constructed is None):
        return Finding("unknown: paths at two learning rates differ by more than their scale")
    for (rate, schedule), (text, trouble) in DEPENDENCE_ON_LR.items():
        if near(scheduled, schedule, PATH_TOLERANCE) and _same(constructed, rate):
            return Finding(text, trouble=trouble)
    at = "" if constructed is None else f"half of lr leaves {constructed:.3g} of a path, "
    return Finding(f"of its own kind: {at}half by a scheduler {scheduled:.3g}")


def _same(measured: float | None, expected: float | None) -> bool:
    return (
        measured is expected
        if measured is None or expected is None
        else near(measured, expected, PATH_TOLERANCE)
    )


def _gradients() -> Tensor:
    """Positive gradients, so that the direction is known."""
    generator = torch.Generator().manual_seed(3)
    return 0.5 + torch.rand(12, *SHAPE, dtype=torch.float64, generator=generator)


def _displacement(subject: BlackBox, lr: float, factor: float = 1.0) -> Tensor:
    """The displacement of a parameter from its start, per step."""
    g = _gradients()
    points = finite(subject.path(ONES, g, {"lr": lr, **NO_DECAY}, [factor] * len(g)).points)
    return points[1:] - points[0]


def _multiple(way: Tensor, whole: Tensor) -> float | None:
    """The factor between two displacements; None if they are not proportional."""
    times = float((way * whole).sum() / whole.square().sum())
    apart = float((way - times * whole).abs().max())
    return times if apart <= PATH_TOLERANCE * float(way.abs().max()) else None
