"""Tests of weight decay: its kind, sign, amount, and dependence on lr."""

from __future__ import annotations

from typing import NamedTuple

import torch

from betaplane.audit.black_box import ONES, BlackBox, finite, new_parameter
from betaplane.audit.probes import NO_DECAY, TOLERANCE, Finding, near, scaled

LR, WEIGHT_DECAY = 0.1, 1e-3  # settings of the measurement
SHARE_TOLERANCE = 0.02  # relative tolerance of measured shares


class Kind(NamedTuple):
    """A dependence of weight decay on lr."""

    text: str
    constructed: float  # factor of the decay at half the lr
    scheduled: float  # the same, if a scheduler halves lr
    power: int  # of lr: it removes the share lr^power weight_decay
    trouble: bool = False


KINDS = (
    Kind("decoupled, times lr", 0.5, 0.5, 1),
    Kind("independent of lr, but follows its schedule", 1.0, 0.5, 0),
    Kind("decoupled, times the square of lr over its peak", 0.5, 0.25, 1),
    Kind("decoupled, times lr twice", 0.25, 0.25, 2, trouble=True),
    Kind("ignores lr and its schedule", 1.0, 1.0, 0, trouble=True),
    Kind("times the lr it was constructed with; ignores its schedule", 0.5, 1.0, 1),
)
# of the term that is added to the gradient
L2_FACTORS = {"": 1.0, "with the wrong sign": -1.0, "doubled": 2.0, "halved": 0.5}


def decay(subject: BlackBox) -> Finding:
    """The kind of weight decay, from the share of a weight that it removes at zero gradient."""
    if "weight_decay" not in subject.settable:
        return Finding("no such option, or it is set")
    share = decay_share(subject, {"lr": LR, "weight_decay": WEIGHT_DECAY})
    if not share:
        return _none_at_rest(subject)
    lr = subject.path(ONES, (), {"lr": LR}).numbers.get("lr", 0.0)
    measured = f"at weight_decay={WEIGHT_DECAY:g}, lr={lr:g} a step removes the share"
    times = {**L2_FACTORS, "times lr": lr}
    coupled = next((text for text in times if _is_l2(subject, times[text])), None)
    if (
        coupled == ""
        and not any(scaled(subject))
        and near(share, lr * WEIGHT_DECAY, SHARE_TOLERANCE)
    ):
        return Finding(f"l2 or decoupled, which are the same here; {measured}", share)
    if coupled is not None:
        text = f"l2, {coupled}" if coupled else "l2"
        return Finding(
            f"{text}: it is added to the gradient, and normalized away with it",
            trouble=bool(coupled),
        )
    if share < 0:
        return Finding(f"with the wrong sign: it makes weights grow; {measured}", share, True)
    return _decoupled(subject, share, lr, measured)


def _decoupled(subject: BlackBox, share: float, lr: float, measured: str) -> Finding:
    """The kind of a decay that is not a part of the gradient, from its dependence on lr."""
    double = decay_share(subject, {"lr": LR, "weight_decay": 2 * WEIGHT_DECAY})
    if not near(double / share, 2.0, SHARE_TOLERANCE):
        return Finding(
            "of its own kind: at twice the weight_decay a step removes more, by the factor",
            double / share,
        )
    settable = "lr" in subject.settable
    rate = (
        decay_share(subject, {"lr": LR / 2, "weight_decay": WEIGHT_DECAY}) / share
        if settable
        else None
    )
    schedule = decay_share(subject, {"lr": LR, "weight_decay": WEIGHT_DECAY}, halved=True) / share
    kinds = [kind for kind in KINDS if near(schedule, kind.scheduled, 0.01)]
    kinds = [kind for kind in kinds if rate is None or near(rate, kind.constructed, 0.01)]
    if not kinds:
        half = "" if rate is None else f"half of lr removes {rate:.3g}, "
        return Finding(
            f"of its own kind: {half}half by a scheduler {schedule:.3g}; {measured}", share
        )
    right = [kind for kind in kinds if near(share, lr**kind.power * WEIGHT_DECAY, SHARE_TOLERANCE)]
    if len(right) == 1:
        return Finding(f"{right[0].text}; {measured}", share, right[0].trouble)
    if len(kinds) > 1:
        return Finding(
            f"unknown: {' or '.join(kind.text for kind in right or kinds)}; {measured}", share
        )
    return Finding(
        f"{kinds[0].text}, {share / (lr ** kinds[0].power * WEIGHT_DECAY):.3g} times that; {measured}",
        share,
        True,
    )


def _none_at_rest(subject: BlackBox) -> Finding:
    """The finding if weight decay has no effect at zero gradient, where some rules do not step."""
    gradients = torch.randn(10, *ONES.shape, dtype=ONES.dtype)
    with_, without = (
        subject.path(ONES, gradients, {"weight_decay": share}).points[-1] for share in (0.25, 0.0)
    )
    if torch.equal(with_, without):
        return Finding("the option has no effect", 0.0, True)
    return Finding("unknown: it removes nothing at zero gradient, and something at others")


def _is_l2(subject: BlackBox, times: float) -> bool:
    """Whether decay equals the term times * weight_decay * x, added to the gradient."""
    share, p, q = 0.25, new_parameter(ONES), new_parameter(ONES)
    with_, without = (
        subject.make([p], lr=LR, weight_decay=share),
        subject.make([q], **{"lr": LR, **NO_DECAY}),
    )
    for g in torch.randn(
        10, *ONES.shape, dtype=ONES.dtype, generator=torch.Generator().manual_seed(0)
    ):
        subject.step(with_, [(p, g)])
        subject.step(without, [(q, g + times * share * q.detach())])
    return bool(((p - q).abs() <= TOLERANCE * (p - ONES).abs().max()).all())


def decay_share(subject: BlackBox, want: dict[str, float], halved: bool = False) -> float:
    """The share of a weight of 1 that decay removes in step 10 at zero gradient."""
    factors = [0.5 if halved else 1.0] * 10
    with_, without = (
        finite(subject.path(ONES, [0 * ONES] * 10, {**want, **more}, factors).points)[:, 0, 0]
        for more in ({}, NO_DECAY)
    )
    taken = (without[10] - without[9]) - (with_[10] - with_[9])
    return float(taken / with_[9])


def decay_order(subject: BlackBox) -> Finding:
    """Whether decay comes before or after the step, from the first step away from zero."""
    if "weight_decay" not in subject.settable:
        return Finding("there is none")
    single, double = (
        decay_share(subject, {"lr": LR, "weight_decay": share})
        for share in (WEIGHT_DECAY, 2 * WEIGHT_DECAY)
    )
    if not near(double, 2 * single, 0.02):
        return Finding("as part of the gradient")
    moved = [_first_move(subject, {"lr": LR, "weight_decay": share}) for share in (0.0, 0.25)]
    if near(moved[0], moved[1], 1e-9):
        return Finding("before the step, or with it", 1.0)
    return Finding("after the step, which it shrinks to", moved[1] / moved[0])


def _first_move(subject: BlackBox, want: dict[str, float]) -> float:
    return next((move for move in subject.moves([1.0] * 10, want) if move), 0.0)
