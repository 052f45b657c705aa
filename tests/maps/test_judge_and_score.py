"""Maps judged by regret or gradient norm, and scored on a log scale."""

from __future__ import annotations

import math

import numpy as np
import pytest

from betaplane import figures
from betaplane.errors import BadInput
from betaplane.maps import DEGRADED, FAILING, GOOD, map_phases, plan_for, to_json
from betaplane.maps.verdicts import log_score
from betaplane.problems import Trainer, power, quadratic
from betaplane.theory import degenerate_critical_beta2

SMALL = {"points": 2, "seeds": 1, "boundary_seeds": 1, "dense": True, "workers": 0}
AXES = ("beta1", 0.5, 0.9), ("beta2", 0.5, 0.99)


def test_runs_of_different_judges_are_kept_apart_in_one_store(tmp_path):
    found = {}
    for judge in ("loss", "regret", "gradient-norm", "loss"):
        problem = quadratic(A=3, steps=60)
        found[judge] = map_phases(problem, *AXES, judge=judge, store=tmp_path / "q.sqlite", **SMALL)
    finals = {judge: m.cells[0, 0].finals for judge, m in found.items()}
    assert len(set(finals.values())) == 3
    assert to_json(found["regret"])["judge"] == "regret"
    assert found["regret"].facts["judged by"].startswith("average loss of the minibatches")
    assert found["gradient-norm"].best == 0.0
    assert "best gradient norm" in figures.html(found["gradient-norm"])
    page = figures.html(found["regret"])
    assert "best average regret" in page
    assert "of the average regret, the median over seeds" in page


def test_the_log_score_is_linear_in_decades():
    assert [log_score(10.0**-k, 1.0, 0.0, 1e-20) for k in (0, 5, 10, 20)] == [
        pytest.approx(1 - k / 20) for k in (0, 5, 10, 20)
    ]
    assert log_score(10.0, 1.0, 0.0, 1e-10) == pytest.approx(1.1)
    assert log_score(math.nan, 1.0, 0.0, 0.1) == math.inf
    assert log_score(0.0, 1.0, 0.0, 0.0) == 0.0  # counts as the smallest float32
    assert log_score(1.0, 1.0, 0.0, 1.0) == 0.0  # no run gained anything
    assert log_score(-3.0 + 1e-9, -2.0, -3.0, -3.0) == 0.0  # as near as float32 can be


def test_the_log_score_shows_the_phases_of_the_power_problem():
    """Linear scores are good on both sides of the boundary; log scores are not below it, and order
    the rates above it.
    """
    spots = ("beta1", 0.5, 0.9), ("beta2", 0.6, 0.93)
    how = {"eps": 0.0, "steps": 1000, "lr": 0.01}
    linear = map_phases(power(), *spots, score="linear", **how, **SMALL)
    log = map_phases(power(), *spots, score="log", **how, **SMALL)
    assert degenerate_critical_beta2(0.9) == pytest.approx(0.9)
    assert linear.verdicts.tolist() == [[GOOD, GOOD], [GOOD, GOOD]]
    assert log.verdicts[0, 0] == GOOD  # the smallest beta2 that is stable at beta1 = 0.5
    assert log.verdicts[1, 0] == FAILING  # (0.9, 0.6) is below the boundary
    assert log.cells[1, 1].verdict in (
        DEGRADED,
        FAILING,
    )  # stable, and slower: rates are log(beta2)
    assert log.cells[1, 1].score < log.cells[1, 0].score
    assert "share of the most decades of (final" in figures.html(log)
    assert log.recommendation is None or log.recommendation.decision is None


TRAINER = Trainer("mine", lambda settings, seed: [1.0])
FAULTS = {
    "judge": (power(), {"judge": "grad"}, "Unknown judge 'grad'. Choose one of: loss, regret"),
    "function": (TRAINER, {"judge": "gradient-norm"}, "The norm of the gradient needs a problem"),
    "score": (power(), {"score": "ln"}, "Unknown score 'ln'."),
    "best": (TRAINER, {"score": "log"}, "A score on a log scale needs the lowest possible loss"),
}


@pytest.mark.parametrize(("problem", "how", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_judge_or_score_that_is_none_is_rejected(problem, how, sentence):
    with pytest.raises(BadInput) as raised:
        plan_for(problem, **how)
    assert str(raised.value).startswith(sentence)


def test_a_norm_needs_no_known_loss():
    assert plan_for(Trainer("mine", TRAINER.train, best=0.0), score="log").score == "log"
    assert np.isfinite(plan_for(quadratic(), judge="gradient-norm", score="log").lr)
