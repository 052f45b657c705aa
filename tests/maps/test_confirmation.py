"""The boundary of failure along beta2: beliefs, the runs that decide most, and their results."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from betaplane.errors import BadInput
from betaplane.maps import confirm, predict_map, to_json
from betaplane.maps.boundary_belief import Belief, belief, choose, p_fail
from betaplane.maps.confirmation import HIGHEST, beta2_at, proxy_position
from betaplane.problems import counterexample
from betaplane.replay import record_problem, replay_gradients

RECORDING = record_problem(counterexample(n=10), steps=160)


def expected_entropy(prior: Belief, runs: list[float]) -> float:
    """The entropy of the boundary after the runs, by going through all outcomes."""
    total = 0.0
    for outcome in range(2 ** len(runs)):
        fails = [bool(outcome >> k & 1) for k in range(len(runs))]
        joint = prior.weight.copy()
        for place, failed in zip(runs, fails, strict=True):
            p = p_fail(np.array([place]), prior.places)[0]
            joint = joint * (p if failed else 1 - p)
        posterior = joint / joint.sum()
        total -= joint.sum() * float((posterior * np.log(posterior + 1e-300)).sum())
    return total


def test_the_chosen_run_leaves_the_least_entropy():
    prior = belief(0.0, HIGHEST, [1.0, 1.6])
    (best,) = choose(prior, 1).places
    left = expected_entropy(prior, [best])
    others = np.linspace(0, HIGHEST, 81)
    assert left <= min(expected_entropy(prior, [float(q)]) for q in others) + 1e-9


def test_two_chosen_runs_are_nearly_the_best_pair():
    prior = belief(0.0, HIGHEST, [1.3])
    left = expected_entropy(prior, list(choose(prior, 2).places))
    pairs = combinations(np.linspace(0.3, 3.0, 28), 2)
    best = min(expected_entropy(prior, [float(a), float(b)]) for a, b in pairs)
    assert left <= best + 0.05


def test_the_expected_deviation_is_the_mean_over_outcomes():
    prior = belief(0.0, HIGHEST, [1.3])
    choice = choose(prior, 2)
    total = 0.0
    for fails in ((True, True), (True, False), (False, True), (False, False)):
        outcomes = list(zip(choice.places, fails, strict=True))
        chance = prior.weight
        for place, failed in outcomes:
            p = p_fail(np.array([place]), prior.places)[0]
            chance = chance * (p if failed else 1 - p)
        total += chance.sum() * prior.after(outcomes).deviation()
    assert choice.deviation == pytest.approx(total, rel=1e-6)


def test_a_wrong_prediction_gives_way_to_runs():
    truth = 2.8
    known = belief(0.0, HIGHEST, [0.5])
    for _ in range(3):
        known = known.after((q, q < truth) for q in choose(known, 5).places)
    low, high = known.interval()
    assert low <= truth <= high
    assert high - low < 0.6


def test_chosen_runs_beat_evenly_spaced_ones_if_the_prediction_is_right():
    prior = belief(0.0, HIGHEST, [1.3])
    even = [float(q) for q in (np.arange(6) + 0.5) / 6 * HIGHEST]
    assert expected_entropy(prior, list(choose(prior, 6).places)) < expected_entropy(prior, even)


def test_results_narrow_the_boundary(tmp_path: Path):
    before = confirm(RECORDING, runs=5)
    assert before.results == 0
    rows = [f"0.9,{run['beta2']},{2.0 if run['beta2'] < 0.75 else 0.1}" for run in before.runs]
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(["beta1,beta2,final_loss", *rows, "0.5,0.999,2.0"]))
    after = confirm(RECORDING, runs=5, results=path, initial=2.3)
    assert after.results == 5  # the run at another beta1 does not count
    assert after.deviation < 0.6 * before.deviation
    assert after.boundary is not None
    failing = max(run["beta2"] for run in before.runs if run["beta2"] < 0.75)
    fine = min(run["beta2"] for run in before.runs if run["beta2"] >= 0.75)
    assert failing - 0.1 < after.boundary[1] < fine + 0.1


def test_results_without_a_single_boundary_leave_it_unknown(tmp_path: Path):
    rows = [
        f"0.9,{b},{loss}" for b, loss in ((0, 2.0), (0.5, 0.1), (0.7, 0.1), (0.9, 2), (0.99, 2))
    ]
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(["beta1,beta2,final_loss", *rows]))
    found = confirm(RECORDING, results=path, initial=2.3)
    assert (found.contradictions, found.boundary) == (2, None)


def test_the_map_of_a_proxy_adds_a_prediction(tmp_path: Path):
    replay = replay_gradients(RECORDING, [0.0, 0.9], 1 - np.geomspace(1, 1e-3, 13))
    phase_map = predict_map(replay)
    path = tmp_path / "proxy.json"
    path.write_text(json.dumps(to_json(phase_map)))
    column = {c["beta2"]: c["verdict"] for c in to_json(phase_map)["cells"] if c["beta1"] == 0.9}
    failing = [beta2 for beta2, word in column.items() if word == "failing"]
    above = [beta2 for beta2 in column if beta2 > max(failing)]
    assert max(failing) < beta2_at(proxy_position(path, 0.9)) < min(above)
    found = confirm(RECORDING, proxy=path)
    assert found.predictions.keys() == {"replay", "proxy map"}
    with pytest.raises(BadInput, match="The proxy map has no cells near beta1"):
        confirm(RECORDING, 0.99, proxy=path)


def test_bad_input_is_a_sentence(tmp_path: Path):
    with pytest.raises(BadInput, match="beta1 is out of range"):
        confirm(RECORDING, 1.0)
    for runs in (0, 13):
        with pytest.raises(BadInput, match="The number of runs is out of range"):
            confirm(RECORDING, runs=runs)
    path = tmp_path / "x.json"
    for text in ("{}", "[]", "no json", '{"cells": [1]}'):
        path.write_text(text)
        with pytest.raises(BadInput, match="not the JSON of a map"):
            confirm(RECORDING, proxy=path)
    table = tmp_path / "runs.csv"
    table.write_text("beta1,beta2,final_loss\n0.9,0.9,1.0\n")
    with pytest.raises(BadInput, match="The loss before training is not known"):
        confirm(RECORDING, results=table)
    table.write_text("beta1,beta2,final_loss\n0.5,0.9,1.0\n")
    with pytest.raises(BadInput, match=r"No result has a beta2 and beta1 = 0\.9"):
        confirm(RECORDING, results=table, initial=2.0)
