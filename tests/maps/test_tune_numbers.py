"""The result of `tune`, made by hand: its answer, its reason, its JSON, and the lattice it is from."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from betaplane.errors import BadInput
from betaplane.maps import tune
from betaplane.maps.decision import Gain
from betaplane.maps.tune import _upper_median
from betaplane.maps.tune_search import Lattice
from betaplane.maps.tuned import Trial, Tuned
from betaplane.problems import Trainer

GAIN = Gain(0.1, 0.2, 0.3, True, 4, 5.0)
OTHER = Gain(-0.1, 0.05, 0.2, True, 4, math.inf)
DEFAULT = {"lr": 0.01, "beta1": 0.9, "beta2": 0.999}
KEPT = Tuned(
    problem="mine", lr=0.01, beta1=0.9, beta2=0.999, loss=0.5, default=DEFAULT,
    best_default={**DEFAULT, "lr": 0.03}, gain=GAIN, gain_at_best_lr=OTHER,
    trials=(Trial(0.01, 0.9, 0.999, math.inf, (0.5, math.nan)), Trial(0.1, 0.9, 0.999, 0.25, (0.25,))),
    trainings=3, initial=1.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({}, "keep the default"),
        ({"lr": 0.03}, "change lr"),
        ({"beta1": 0.8}, "change betas"),
        ({"beta2": 0.99}, "change betas"),
        ({"lr": 0.03, "beta2": 0.99}, "change lr and betas"),
    ],
)
def test_the_answer_names_what_changes(changes: dict, answer: str) -> None:
    found = replace(KEPT, **changes)
    assert found.answer == answer
    assert (found.keeps_lr, found.keeps_betas) == ("lr" not in changes, not {*changes} - {"lr"})
    assert found.to_dict()["answer"] == answer


def test_the_reason_compares_with_the_default_and_with_its_best_rate() -> None:
    gain = "loss 20% lower (95% interval 10% to 30%, 4 paired seeds)"
    other = "loss 5% lower (95% interval -10% to 20%, 4 paired seeds)"
    cost = "3 runs, 2 settings."
    assert KEPT.reason == (
        "no setting is likely to be better than the default. The best setting found, compared with "
        f"the default at its best lr=0.03: {other}. {cost}"
    )
    default = "the default (betas=(0.9, 0.999), lr=0.01)"
    rate = replace(KEPT, lr=0.03, ends=("lr",)).reason
    assert rate == (
        f"compared with {default}: {gain}. The best setting found, compared with the default at its "
        f"best lr=0.03: {other}. lr is at the end of what was tried: repeat with lr=0.03 to try "
        f"further. {cost}"
    )
    betas = replace(KEPT, beta2=0.99, ends=("beta2",)).reason
    assert betas == (
        f"compared with {default}: {gain}. Compared with the default at its best lr=0.03: {other}. "
        "Within noise the default betas are as good at that learning rate. beta2 is at the end of "
        f"what was tried. {cost}"
    )
    doubtful = replace(KEPT, lr=0.03, gain=replace(GAIN, low=-0.01)).reason
    assert "paired seeds). The interval contains 0: it is likely to be better, not" in doubtful
    better = replace(KEPT, beta2=0.99, gain_at_best_lr=GAIN).reason
    assert better == (
        f"compared with {default}: {gain}. Compared with the default at its best lr=0.03: {gain}. "
        f"{cost}"
    )


def test_the_result_is_plain_json_without_infinities() -> None:
    found = json.loads(json.dumps(KEPT.to_dict(), allow_nan=False))
    assert [trial["loss"] for trial in found["trials"]] == [None, 0.25]
    assert [trial["finals"] for trial in found["trials"]] == [[0.5, None], [0.25]]
    assert (found["loss"], found["gain"]["of_loss"], found["gain"]["low"]) == (0.5, True, 0.1)
    assert found["gain_at_best_lr"]["deciding_seeds"] is None
    assert found["reason"] == KEPT.reason
    assert replace(KEPT, loss=math.inf).to_dict()["loss"] is None


@pytest.mark.parametrize(
    ("finals", "median"),
    [([3.0, 1.0, 2.0], 2.0), ([1.0, 2.0], 2.0), ([1.0, math.nan], math.inf), ([5.0], 5.0)],
)
def test_a_loss_is_the_upper_median_and_a_lost_run_infinite(finals, median) -> None:
    assert _upper_median(finals) == median


# the lattice

SMALL = Lattice((0.01, 0.1), (0.0, 0.5), (0.2, 0.9, 0.99), 0, (0.5, 0.9))


def test_a_lattice_has_admissible_settings_only() -> None:
    """0.5 is above sqrt(0.2), which is 0.447."""
    assert SMALL.at((1, 1, 2)) == {"lr": 0.1, "beta1": 0.5, "beta2": 0.99}
    assert len(SMALL.cells()) == 2 * (3 + 2)
    assert (0, 1, 0) not in SMALL.cells()
    assert (0, 0, 0) in SMALL.cells()
    assert SMALL.default(1) == (1, 1, 1)
    np.testing.assert_allclose(
        SMALL.decades([(0, 0, 1), (1, 1, 2)]), [[-2, 0, 1], [-1, math.log10(2), 2]], atol=1e-12
    )


def test_rates_are_factors_around_the_given_one() -> None:
    found = Lattice.around(0.003, (0.85, 0.997), 2)
    assert (found.start, found.lrs[2], len(found.lrs)) == (2, 0.003, 5)
    ratios = np.diff(np.log(found.lrs))
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-5)
    assert ratios[0] > 0
    assert list(found.beta1s) == sorted(found.beta1s)
    assert list(found.beta2s) == sorted(found.beta2s)
    assert Lattice.around(0.003, (0.85, 0.997), 0).lrs == (0.003,)


@pytest.mark.parametrize(
    ("cell", "ends"),
    [
        ((0, 0, 0), ["lr", "beta2"]),  # beta1 = 0 is an end of the possible
        ((1, 0, 1), ["lr"]),
        ((0, 1, 1), ["lr", "beta1"]),
        ((0, 0, 2), ["lr", "beta2"]),
        ((1, 1, 2), ["lr", "beta1", "beta2"]),
    ],
)
def test_ends_of_the_lattice_are_named(cell, ends) -> None:
    assert SMALL.ends(cell) == ends
    single = replace(SMALL, lrs=(0.01,))
    assert single.ends((0, *cell[1:])) == [name for name in ends if name != "lr"]


def test_if_every_setting_diverges_a_smaller_rate_is_proposed() -> None:
    with pytest.raises(BadInput) as raised:
        tune(
            Trainer("lost", lambda settings, seed: [1.0, math.nan], defaults={"lr": 0.02}),
            workers=0,
        )
    text = str(raised.value)
    assert "(problem 'lost', lr=0.02). Try: lr=0.002" in text


def test_what_was_not_tuned_is_fixed() -> None:
    found = tune(
        Trainer("flat", lambda settings, seed: [1.0, 0.5]), workers=0, eps=1e-6, batch_size=7
    )
    assert {"eps": 1e-6, "batch_size": 7}.items() <= found.fixed.items()
    assert not {"lr", "beta1", "beta2"} & found.fixed.keys()
    assert (found.answer, found.initial, found.loss) == ("keep the default", 1.0, 0.5)
