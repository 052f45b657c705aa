"""Reasons and warnings at extremes: every figure in them is parsed and computed again."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable

import pytest

from betaplane.advice import Advice, Recommendation, advise, evidence
from betaplane.theory import half_life, update_bound

BATCHES = (1, 2, 4, 31, 512, 8192, 3e5, 1e7, 1e12, 1e18)
BETA1S = (0.0, 0.5, 0.9, 0.99, 0.999999, 1 - 1e-12)
BETA2S = (0.0, 1e-300, 0.3, 0.9, 0.95, 0.999, 0.99999, 1 - 1e-9, math.nextafter(1, 0))
NUMBER = r"(?:1 - )?[\d.,]+(?:e[+-]?\d+)?"
MAX_BETA2 = 0.99999
TOLERANCE = 0.06  # of a figure printed with two digits


def number(text: str) -> float:
    """A printed number, such as "1,377", "0.9985" or "1 - 8.9e-06"."""
    head, _, gap = text.replace(",", "").rstrip(".").partition(" - ")
    return float(head) - float(gap or 0)


def figures(pattern: str, text: str) -> list[float]:
    """The numbers that a pattern with {} for each of them finds; empty if it does not match."""
    escaped = re.escape(pattern).replace(r"\{\}", f"({NUMBER})")
    found = re.search(escaped, text)
    return [number(group) for group in found.groups()] if found else []


def gap(beta: float) -> float:
    return max(1 - beta, 2.0**-53)


def near(figure: float, value: float) -> bool:
    """Whether a printed figure stands for a value."""
    return math.isclose(figure, value, rel_tol=TOLERANCE, abs_tol=1e-300)


def near_beta(figure: float, beta: float) -> bool:
    return near(gap(figure), gap(beta))


def cases(number: int) -> list[dict]:
    """Working settings at one batch size and another batch size, and runs without any."""
    rng = random.Random(1)
    drawn: list[dict] = []
    for _ in range(number):
        lr, decay = 10 ** rng.uniform(-9, 2), rng.choice((0.0, 1e-6, 0.1, 50.0))
        before = {
            "batch": rng.choice(BATCHES),
            "beta1": rng.choice(BETA1S),
            "beta2": rng.choice(BETA2S),
            "lr": lr,
            "weight_decay": decay,
            "warmup": rng.choice((0, 1, 2000, 1e9)),
            "eps": rng.choice((0.0, 1e-30, 1e-8, 10.0)),
        }
        batch = rng.choice(BATCHES)
        length = batch * rng.choice((1, 1.5, 9, 100, 1e6))
        known = {"dataset_size": min(length, 1e18), "epochs": 1} if rng.random() < 0.6 else {}
        drawn.append({"before": before, "after": f"batch={batch!r}", **known})
        tokens = {"batch_tokens": batch, "tokens": min(length, 1e18)}
        drawn.append(
            {**tokens, "params": 10 ** rng.uniform(0, 18)} if rng.random() < 0.7 else tokens
        )
        drawn.append({"batch_size": batch, **known})
    return drawn


def test_rows_stay_finite_and_inside_of_their_ranges():
    for case in cases(60):
        for row in advise(**case).rows:
            if row.low is not None and row.high is not None:
                assert math.isfinite(row.low), (case, row)
                assert row.low <= float(row.value) <= row.high < math.inf, (case, row)


def beta2_keeps_its_memory(advice: Advice, row: Recommendation, case: dict) -> None:
    if not row.reason.startswith("Keeps the memory of v"):
        return
    before, batch = case["before"], float(case["after"].partition("=")[2])
    kept = half_life(before["beta2"], before["batch"])
    for beta2 in (float(row.value), number(row.text)):
        if gap(beta2) > 1e-15:
            assert near(half_life(beta2, batch), kept), (case, row)


def beta2_at_a_limit(advice: Advice, row: Recommendation, case: dict) -> None:
    found = figures("value recommended here; the formula gives {}, beyond it.", row.reason)
    if not found:
        return
    value = float(row.value)
    smallest = row.reason.startswith("The smallest")
    assert (found[0] < value) == smallest or near_beta(found[0], value), (case, row)
    (note,) = [text for text in advice.warnings if text.startswith("beta2 = ")]
    for pattern in ("raised to it", "lowered"):
        assert (pattern in note) == (smallest == (pattern == "raised to it")), (case, note)
    for pattern in ("below beta1 = {};", "lowered to beta1 = {},", "is above {}, the largest"):
        for limit in figures(pattern, note):
            assert near_beta(limit, value), (case, note)


def beta2_of_sweeps(advice: Advice, row: Recommendation, case: dict) -> None:
    found = figures("best between {} and {} tokens", row.reason)
    if not found:
        return
    batch = case["batch_tokens"]
    for half, end in zip(found, (row.low, row.high), strict=True):
        beta = 2 ** (-batch / half)
        limits = (0.81, 1 - 1 / max(1.1, 0.1 * case["tokens"] / batch), MAX_BETA2, 0.9)
        assert abs(math.log(gap(beta) / gap(float(end or 0)))) < 0.25 or any(
            near_beta(limit, float(end or 0)) for limit in limits
        ), (case, row)
    (point,) = figures("2^(-batch / {})", row.formula)
    assert found[0] < point < found[1]
    assert near(half_life(float(row.value), batch), point), (case, row)


def beta2_below_every_best(advice: Advice, row: Recommendation, case: dict) -> None:
    notes = [text for text in advice.warnings if text.startswith("Your beta2")]
    if "before" not in case:
        assert not notes
        return
    shortest = evidence().shortest_half_life("samples")
    before = case["before"]
    assert bool(notes) == (half_life(before["beta2"], before["batch"]) < shortest), (case, notes)
    for least in (
        figure for note in notes for figure in figures("at least {} at this batch", note)
    ):
        assert near_beta(least, 2 ** (-before["batch"] / shortest)), (case, notes)


def beta2_unknown(advice: Advice, row: Recommendation, case: dict) -> None:
    if not row.reason.startswith("Nothing is known"):
        return
    (runs,) = figures("about {} runs", row.reason)
    assert runs == 48
    shortest = figures("2^(-batch / {})", row.formula)
    expected = 2 ** (-case["batch_size"] / shortest[0]) if shortest else 0.999
    assert near_beta(expected, float(row.value)), (case, row)
    assert row.confidence == "heuristic"


def lr_follows_its_exponent(advice: Advice, row: Recommendation, case: dict) -> None:
    found = figures("rose as batch^{} in", row.reason)
    if not found:
        return
    before = case["before"]
    k = float(case["after"].partition("=")[2]) / before["batch"]
    assert k != 1
    assert near(float(row.value), before["lr"] * k ** found[0]), (case, row)
    assert near(figures("k = {}", row.formula)[0], k)


def lr_stays_at_its_batch(advice: Advice, row: Recommendation, case: dict) -> None:
    if row.reason == "It works at this batch size.":
        assert row.value == case["before"]["lr"]


def warmup_figures(advice: Advice, row: Recommendation, case: dict) -> None:
    value = float(row.value)
    for pattern in ("A tenth of the run is {} steps", "a tenth of the run is {} steps"):
        for steps in figures(pattern, row.reason):
            assert near(steps, value) or round(value) == steps, (case, row)
    for steps in figures("5% of the run, longer than the {} steps", row.reason):
        assert near(steps, 2 / gap(float(advice["beta2"].value))), (case, row)
        assert steps < value
    if "as many samples as before" in row.reason:
        before, batch = case["before"], float(case["after"].partition("=")[2])
        assert near(before["batch"] * before["warmup"], value * batch), (case, row)
        kept = half_life(before["beta2"], before["batch"])
        same = math.isclose(half_life(float(advice["beta2"].value), batch), kept, rel_tol=1e-6)
        assert ("v averages over as many" in row.reason) == same, (case, row)


def decay_figures(advice: Advice, row: Recommendation, case: dict) -> None:
    found = figures("Capped: {} would remove {} of the weights per step", row.reason)
    lr = float(advice["lr"].value)
    if found:
        assert near(found[0] * lr, found[1]), (case, row)
        assert found[1] >= 0.1
        assert near(float(row.value) * lr, 0.1)
    elif share := figures("should average over {} of this run", row.reason):
        steps = case["tokens"] / case["batch_tokens"]
        assert near(1 / (lr * float(row.value) * steps), share[0]), (case, row)
        assert share[0] <= 1
    elif row.reason.startswith("The weights should average over the whole run"):
        assert near(1 / (lr * float(row.value)), case["tokens"] / case["batch_tokens"])
    elif row.reason.startswith("The weights then average over as many samples"):
        before, batch = case["before"], float(case["after"].partition("=")[2])
        horizon = before["batch"] / (before["lr"] * before["weight_decay"])
        assert near(batch / (lr * float(row.value)), horizon), (case, row)


def clipping_figures(advice: Advice, row: Recommendation, case: dict) -> None:
    bound = float(update_bound(float(advice["beta1"].value), float(advice["beta2"].value)))
    for pattern in ("make one update larger than {} lr", "make one update {} lr large"):
        for figure in figures(pattern, row.reason):
            assert near(figure, bound), (case, row)


CHECKS: dict[str, tuple[Callable[[Advice, Recommendation, dict], None], ...]] = {
    "beta2": (
        beta2_keeps_its_memory,
        beta2_at_a_limit,
        beta2_of_sweeps,
        beta2_unknown,
        beta2_below_every_best,
    ),
    "lr": (lr_follows_its_exponent, lr_stays_at_its_batch),
    "warmup": (warmup_figures,),
    "weight_decay": (decay_figures,),
    "update clipping": (clipping_figures,),
}


@pytest.mark.parametrize("name", CHECKS)
def test_every_figure_of_a_reason_is_true_at_extremes(name):
    for case in cases(60):
        advice = advise(**case)
        for check in CHECKS[name]:
            check(advice, advice[name], case)
