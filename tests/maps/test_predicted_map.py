"""A predicted map is a map: marks, curves, rows and pictures, and it never says that something was
trained.
"""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from rich.console import Console

import betaplane
from betaplane.figures import _text, html, palette, png, summary, terminal
from betaplane.maps import PhaseMap, predict_map, rows, to_json
from betaplane.problems import counterexample
from betaplane.replay import (
    Gradients,
    Layer,
    record_problem,
    replay_gradients,
    thresholds,
    with_batch_size,
)
from betaplane.replay.export import to_json as replay_to_json
from betaplane.replay.predict import LIMITS
from betaplane.theory.boundary import critical_beta2


@pytest.fixture(scope="module")
def replay():
    beta1 = 1 - np.geomspace(1, 0.01, 13)
    return replay_gradients(
        record_problem(counterexample(n=20), steps=400), beta1, 1 - np.geomspace(1, 1e-4, 33)
    )


@pytest.fixture(scope="module")
def phase_map(replay) -> PhaseMap:
    return predict_map(replay, settings={"beta1": 0.5, "beta2": 0.5})


def printed(phase_map: PhaseMap) -> str:
    text = io.StringIO()
    for each in (terminal(phase_map), summary(phase_map)):
        Console(file=text, width=120).print(each)
    return text.getvalue()


def test_failing_ends_at_the_exact_boundary_or_just_above(phase_map: PhaseMap):
    heights, cell = phase_map.y.positions, 4 / 32
    for beta1, verdicts in zip(phase_map.x.values[:9], phase_map.verdicts[:9], strict=True):
        top = heights[np.flatnonzero(verdicts == 2)[-1]] + cell / 2
        assert -0.51 * cell <= top + np.log10(1 - critical_beta2(beta1, n=20)) <= 1.01 * cell


def test_the_curve_is_the_threshold(phase_map: PhaseMap, replay):
    curve, _ = phase_map.curves
    ends = thresholds(replay, most=20.0)
    np.testing.assert_array_equal(curve.y, np.where(ends > 0, ends, np.nan))
    assert curve.label == "predicted beta2*"
    for end, verdicts in zip(curve.y[:9], phase_map.verdicts[:9], strict=True):
        above = np.array(phase_map.y.values) > end
        assert (verdicts[above] == 0).all()
        assert verdicts[~above][-1] == 2


def test_it_recommends_nothing_and_states_the_beta2_that_may_work(phase_map: PhaseMap):
    assert phase_map.recommendation is None
    first = float(phase_map.predicted.window.split("beta2 of ")[1].split()[0])
    assert critical_beta2(0.9, n=20) <= first + 0.01
    assert phase_map.word(beta1=0.9, beta2=first) == "not failing"
    assert phase_map.predicted.window.endswith("and above is not predicted to fail.")
    assert "β₂ of" in html(phase_map)


def test_marks(phase_map: PhaseMap):
    assert {mark.label: mark.verdict for mark in phase_map.marks} == {
        "(0.9, 0.999) torch's default": 0, "(0.9, 0.95) language models": 2, "yours": 2,
    }  # fmt: skip


def test_no_output_calls_a_prediction_trained(phase_map: PhaseMap):
    text, page = printed(phase_map), html(phase_map)
    shown, data = page.split('<script type="application/json"', 1)
    for each in (text, shown):
        assert "should converge: counterexample" in each
        assert "predicted from 400 gradients of batch 1" in each
        assert "trainings" not in each
        assert "seed" not in each
    assert "cosine -1.000, flipped 100.0%" in data  # of every cell
    assert png(phase_map)[:4] == b"\x89PNG"
    assert not any(row["trained"] for row in rows(phase_map))
    assert to_json(phase_map)["initial"] is None


def test_every_output_says_that_only_failure_is_predicted(phase_map: PhaseMap, replay):
    """Cells that are not predicted to fail have one gray and no verdict."""
    page = html(phase_map)
    assert LIMITS in " ".join(printed(phase_map).split())
    assert LIMITS in page
    assert LIMITS == to_json(phase_map)["limits"] == replay_to_json(replay)["limits"]
    assert {row["verdict"] for row in rows(phase_map)} == {"not failing", "failing"}
    assert phase_map.word(beta1=0.9, beta2=0.999) == "not failing"
    for verdict in ("good", "degraded"):
        assert f"<b>{verdict}</b>" not in page
        assert verdict not in printed(phase_map).replace(LIMITS, "")
    colors = {palette.hexadecimal(c) for c in painted(phase_map)[phase_map.verdicts == 0]}
    assert colors == {"#eceef1"}


def painted(phase_map: PhaseMap) -> np.ndarray:
    shades = np.linspace(0, 1, phase_map.verdicts.size).reshape(phase_map.verdicts.shape)
    return palette.paint(phase_map.verdicts, shades, _text.ramps(phase_map))


def test_an_extrapolation_is_marked():
    small = with_batch_size(record_problem(betaplane.load("digits:hidden=2"), 60, 56), 4)
    made = predict_map(replay_gradients(small, [0.0, 0.9], [0.9, 0.99]))
    assert "EXTRAPOLATED" in printed(made)
    assert made.facts["batch"] == "extrapolated"


def test_a_mean_of_noise_gets_a_warning():
    noise = np.random.default_rng(0).standard_normal((64, 40))
    noise -= 0.9 * noise.mean(axis=0)  # less is left of the mean than chance would leave
    stream = Gradients(torch.from_numpy(noise), (Layer("x", (40,), 40),))
    assert (
        "sampling error"
        in predict_map(replay_gradients(stream, [0.5, 0.9], [0.9, 0.99])).facts["warning"]
    )
    clear = stream.with_(values=stream.values + 0.5)
    assert "warning" not in predict_map(replay_gradients(clear, [0.5, 0.9], [0.9, 0.99])).facts


def test_a_predicted_map_states_its_thresholds_and_no_losses(phase_map: PhaseMap, replay):
    assert (phase_map.thresholds.good, phase_map.thresholds.failing) == (20.0, 20.0)
    costs = {spot: cell.score for spot, cell in phase_map.cells.items()}
    for spot, cost in costs.items():
        assert phase_map.verdicts[spot] == (0 if cost <= 20 else 2)
        assert phase_map.cells[spot].verdict == phase_map.verdicts[spot]
    cell = phase_map.cells[0, 0]
    assert (len(cell.curve), cell.finals) == (0, ())
    assert np.isnan([cell.p_fail, cell.p_low, cell.p_high, phase_map.initial, phase_map.best]).all()
    assert phase_map.x.values == tuple(replay.beta1.tolist())
    assert phase_map.y.values == tuple(replay.beta2.tolist())


def test_a_predicted_map_has_the_name_it_is_given_or_that_of_the_recording(replay):
    assert predict_map(replay, "mine").problem == "mine"
    assert predict_map(replay).problem == replay.stream.about["problem"]


def test_a_single_beta_is_no_map(replay):
    for betas, name in (([[0.9], [0.9, 0.99]], "beta1"), ([[0.0, 0.9], [0.99]], "beta2")):
        with pytest.raises(betaplane.BadInput, match=f"A map needs at least 2 values of {name}"):
            predict_map(replay_gradients(replay.stream, *betas))


def test_a_column_in_which_every_beta2_is_good_has_no_threshold():
    """Equal gradients: the mean update points downhill whatever the betas."""
    stream = Gradients(torch.ones(64, 3, dtype=torch.float64), (Layer("x", (3,), 3),))
    found = predict_map(replay_gradients(stream, [0.0, 0.9], [0.5, 0.9, 0.99]))
    assert (found.verdicts == 0).all()
    assert np.isnan(found.curves[0].y).all()
    assert found.problem == "recorded gradients"
    assert "batch_size" not in found.fixed


def test_notes_and_facts_state_what_was_recorded(phase_map: PhaseMap, replay):
    basis = phase_map.predicted.rests_on
    assert basis.endswith("weights frozen" if replay.stream.frozen else "weights moving")
    assert phase_map.facts["weights"].startswith("frozen" if replay.stream.frozen else "moving")
    assert len(phase_map.predicted.notes) == phase_map.verdicts.size
    costs = replay.whole.cost.ravel()
    for note, cost in zip(phase_map.predicted.notes, costs, strict=True):
        assert note.startswith(
            "cost infinite (uphill), " if np.isinf(cost) else f"cost {cost:.3g}, "
        )
    frozen = replay.stream.with_(frozen=not replay.stream.frozen)
    other = predict_map(replay_gradients(frozen, [0.0, 0.9], [0.9, 0.99]))
    assert other.predicted.rests_on != basis
    assert other.facts["weights"].startswith("frozen" if frozen.frozen else "moving")
