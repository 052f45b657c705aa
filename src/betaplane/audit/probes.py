"""Tests of an optimizer's steps: their size, eps, bias correction, zero gradients."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from betaplane.audit.black_box import ONES, OTHER_ONES, BlackBox, finite, new_parameter

TOLERANCE = 1e-6  # relative tolerance of measurements
STEPS = 40
LATE_STEP = 300  # a step at which moments with short memory have converged


class Finding(NamedTuple):
    """The result of a test."""

    text: str
    number: float | None = None
    trouble: bool = False  # important before training with the class


def first_step(subject: BlackBox) -> Finding:
    """The first step over lr at a gradient of 1, and its dependence on the gradient's scale."""
    small, large = (subject.moves([g], NO_DECAY)[0] for g in (1.0, 1000.0))
    if small == large == 0:
        return Finding("of lr: the first step moves nothing", 0.0)
    if near(large, small, 0.01):
        return Finding("of lr, whatever the size of the gradient", small)
    return Finding(
        "of lr at a gradient of 1; larger gradients take " + ratio(large / small, 1000.0), small
    )


def largest_step(subject: BlackBox) -> Finding:
    """The largest step over lr in three histories: a spike, growing and shrinking gradients."""
    rest = [1e-3] * 300
    grown = 1.11  # per step: beta2 / beta1 at the default betas, the worst history for Adam
    histories = {
        "growing gradients": [1e-9] * 300 + [1e-6 * grown**t for t in range(120)],
        "a gradient 1e6 times those before": [*rest, 1e3, *rest[:30]],
        "decay_share gradients": [1e3 * 0.9**t for t in range(100)],
    }
    largest = {
        name: max(map(abs, subject.moves(history, NO_DECAY))) for name, history in histories.items()
    }
    name = max(largest, key=lambda history: largest[history])
    if not scales(subject):
        return Finding(
            f"of lr, under {name}: no bound, steps grow with the gradient", largest[name]
        )
    return Finding(f"of lr, under {name}; the largest of {len(largest)} histories", largest[name])


def debiasing(subject: BlackBox) -> Finding:
    """The moments that are debiased, from the first steps at a constant gradient."""
    moves = subject.moves([1.0] * STEPS, {**NO_DECAY, **SHORT_BETAS, "eps": 1e-30})
    numbers = subject.path(ONES, (), SHORT_BETAS).numbers
    if not {"beta1", "beta2"} <= numbers.keys() or not scales(subject) or not moves[0]:
        return Finding("not Adam's: " + _start(moves))
    seen = [[1 - numbers[name] ** t for t in range(1, STEPS + 1)] for name in ("beta1", "beta2")]
    curves = {
        "of both moments": [1.0] * STEPS,
        "of the second moment only": seen[0],
        "of the first moment only": [c**-0.5 for c in seen[1]],
        "of neither moment": [a / b**0.5 for a, b in zip(*seen, strict=True)],
    }
    for text, curve in curves.items():
        if all(
            near(move, moves[0] * c / curve[0], TOLERANCE)
            for move, c in zip(moves, curve, strict=True)
        ):
            return Finding(f"{text}: {_start(moves)}")
    return Finding("not Adam's: " + _start(moves))


def late_gradient(subject: BlackBox) -> Finding:
    """The first step of a parameter whose first gradient comes after ten steps of others."""
    rested, fallen = _late_path(subject, delay=10)
    _, beside = _late_path(subject, delay=0)
    alone = subject.path(0 * ONES, (ONES,) * 10, NO_DECAY).points[1:, 0, 0].tolist()
    if rested.any():
        return Finding(
            "a parameter moves before its first gradient", float(rested.abs().max()), True
        )
    if _lists_near(fallen, alone):
        return Finding("each parameter counts its own steps", 1.0)
    if not _lists_near(beside, alone) or not _lists_near(
        fallen, _late_path(subject, delay=10, size=0.0)[1]
    ):
        return Finding("unknown: parameters influence each other")
    off = next((a / b for a, b in zip(fallen, alone, strict=True) if b), None)
    return Finding(
        "steps are counted for all together: a late parameter's first step over a right one",
        off,
        True,
    )


def _lists_near(first: list[float], second: list[float]) -> bool:
    return all(near(a, b, TOLERANCE) for a, b in zip(first, second, strict=True))


def _late_path(subject: BlackBox, delay: int, size: float = 1.0) -> tuple[Tensor, list[float]]:
    """A parameter before its first gradient, which comes late, and after each of ten later steps.

    The other parameter has another shape, since some optimizers share their state among parameters
    of one shape. Its gradients have the given size: a count of steps does not depend on it.
    """
    late, other = new_parameter(0 * ONES), new_parameter(0 * OTHER_ONES)
    optimizer = subject.make([other, late], **NO_DECAY)
    for _ in range(delay):
        subject.step(optimizer, [(other, size * OTHER_ONES), (late, None)])
    rested, fallen = late.detach().clone(), []
    for _ in range(10):
        subject.step(optimizer, [(other, size * OTHER_ONES), (late, ONES)])
        fallen.append(float(late[0, 0].detach()))
    return rested, fallen


def eps_place(subject: BlackBox) -> Finding:
    """Where eps sits, from how its effect grows with it, and from how it fades with the correction."""
    if "eps" not in subject.settable:
        return Finding("there is no such option")
    t, small = first_visible_eps(subject, {**SHORT_BETAS, "eps": 1e-4})
    large, late = (eps_at(subject, {**SHORT_BETAS, "eps": 1e-2}, step) for step in (t, LATE_STEP))
    if small is None or large is None:
        return Finding("not to be seen: steps grow with the gradient")
    if small < 0 or large < 0:
        return Finding("subtracted from the root: small gradients take steps uphill", trouble=True)
    if near(small, large, 0.01):
        return Finding("the option has no effect", trouble=True)
    if near(large / small, 10.0, 0.05):
        return Finding("inside the root: acts as sqrt(eps); eps=0.01 as", late or large)
    if not near(large / small, 100.0, 0.05):
        return Finding(
            "neither next to the root nor inside: 100 times eps acts so many times", large / small
        )
    if late is None or near(large, late, 0.01):
        return Finding(
            "next to the root, after any correction: the same at every step",
            large / (late or large),
        )
    beta2 = subject.path(ONES, (), SHORT_BETAS).numbers.get("beta2", 0.0)
    before = near(large / late, ((1 - beta2**LATE_STEP) / (1 - beta2**t)) ** 0.5, 0.01)
    text = "next to the root, before the correction (eps-hat)" if before else "next to the root"
    return Finding(f"{text}: at step {t}, over later ones", large / late)


def effective_eps(subject: BlackBox) -> Finding:
    """The gradient at which first steps are halved, with the default eps."""
    eps = subject.path(ONES, ()).numbers.get("eps")
    t, eps_seen = first_visible_eps(subject, {})
    if eps_seen is None:
        return Finding("none: steps grow with the gradient")
    if not eps:
        return Finding(f"at step {t}; not an option", eps_seen)
    if near(eps_seen, eps, 0.01):
        return Finding(f"at step {t}, the option eps={eps:g}", eps_seen)
    return Finding(
        f"at step {t}, {eps_seen / eps:.3g} times the option eps={eps:g}", eps_seen, eps_seen < 0
    )


def eps_floor(subject: BlackBox) -> Finding:
    """The effective eps if the option is close to zero."""
    if "eps" not in subject.settable:
        return Finding("eps is no option")
    _, eps_seen = first_visible_eps(subject, {"eps": 1e-30})
    if eps_seen is None:
        return Finding("none: steps grow with the gradient")
    if eps_seen < 1e-12:
        return Finding("none: eps=1e-30 takes effect, and acts as", eps_seen)
    return Finding("hidden: at eps=1e-30 something still acts as", eps_seen, True)


def first_visible_eps(subject: BlackBox, want: dict[str, float]) -> tuple[int, float | None]:
    """The first step at which eps has an effect, and its effective value there."""
    steps = (1, 2, 8)
    effective = {t: eps_at(subject, want, t) for t in steps}
    return next(((t, eps) for t, eps in effective.items() if eps is not None), (1, None))


def eps_at(subject: BlackBox, want: dict[str, float], t: int) -> float | None:
    """The effective eps, from step t at tiny gradients; None if steps depend on scale anyway."""
    want = {**NO_DECAY, **want}
    tiny = 1e-6 * min(subject.path(ONES, (), want).numbers.get("eps", 1e-8) or 1e-8, 1.0)
    low, high, higher = (subject.moves([g] * t, want)[-1] for g in (tiny, 1e3, 1e6))
    if not low or not near(high, higher, 0.01):
        return None
    return tiny * (high / low - 1) if low * high < 0 else tiny * max(high / low - 1, 0.0)


def zero_gradient(subject: BlackBox) -> Finding:
    """Whether a step at zero gradient and lr = 0 changes weights, as in distributed state dicts."""
    if "lr" not in subject.settable:
        return Finding("lr is no option")
    points = finite(subject.path(ONES, [0 * ONES], factors=[0.0]).points)
    off = float((points[1] - ONES).abs().max())
    return Finding("weights change" if off else "weights stay", off, bool(off != 0))


def maximize(subject: BlackBox) -> Finding:
    """Whether maximize=True equals minimizing with the opposite gradients."""
    if "maximize" not in subject.settable:
        return Finding("there is no such option")
    gradients = torch.randn(5, *ONES.shape, dtype=ONES.dtype)
    up = subject.path(ONES, gradients, {"maximize": True}).points
    down = subject.path(ONES, -gradients).points
    off = float((up - down).abs().max())
    return Finding(
        "as minimizing the opposite" if off < 1e-12 else "not as minimizing the opposite",
        off,
        off >= 1e-12,
    )


NO_DECAY = {"weight_decay": 0.0}
SHORT_BETAS = {
    "beta1": 0.8,
    "beta2": 0.95,
    "beta3": 0.97,
}  # moments that have converged at LATE_STEP


def near(a: float, b: float, within: float) -> bool:
    """Whether a and b are equal, relative to the larger."""
    return abs(a - b) <= within * max(abs(a), abs(b))


def ratio(factor: float, whole: float) -> str:
    """A phrase for the factor of a step at a gradient `whole` times as large."""
    return (
        "proportionally larger steps"
        if near(factor, whole, 0.01)
        else f"{factor:.3g} times the step at {whole:g} times"
    )


def scales(subject: BlackBox) -> bool:
    """Whether no step depends on the gradient's scale."""
    return all(scaled(subject))


def scaled(subject: BlackBox) -> list[bool]:
    """For each of eight steps, whether it is independent of the gradient's scale."""
    pairs = zip(*(subject.moves([g] * 8, NO_DECAY) for g in (1.0, 1e3)), strict=True)
    return [near(small, large, 0.01) for small, large in pairs]


def _start(moves: list[float]) -> str:
    first = f"step 1 is {moves[0]:.4g} lr, step 2 {moves[1]:.4g}"
    return f"at a constant gradient {first}, step {len(moves)} {moves[-1]:.4g}"
