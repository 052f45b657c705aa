"""Recommendations on maps of a few cells: ranges, edges, candidates and reasons, worked on paper."""

from __future__ import annotations

import math

import numpy as np
import pytest

from betaplane.maps.decision import Decision, Gain
from betaplane.maps.grid import Axis
from betaplane.maps.phase_map import FAILING, GOOD, Cell
from betaplane.maps.recommend import (
    candidates,
    decision_reason,
    edge_notes,
    good_range,
    is_admissible,
    recommend,
    with_decision,
)

LR = Axis("lr", (1e-4, 1e-3, 1e-2, 1e-1))
EPS = Axis("eps", tuple(10.0**-k for k in range(9, 0, -1)))
BETA2 = Axis("beta2", (0.0, 0.9, 0.99, 0.999))
GAIN = Gain(0.1, 0.2, 0.3, True, 8, 5.0)


def cell(settings: dict[str, float], score: float = 0.0, verdict: int = GOOD) -> Cell:
    return Cell(settings, (score,), score, verdict, 0.0, 0.0, 1.0, np.zeros(1))


def grid(x: Axis, y: Axis, scores: dict | None = None, failing: set | None = None):
    """Every cell trained and good, with a score of 0 unless given, except the failing ones."""
    cells, verdicts = {}, np.zeros((len(x), len(y)), np.int8)
    for i, j in np.ndindex(verdicts.shape):
        verdicts[i, j] = FAILING if (i, j) in (failing or ()) else GOOD
        settings = {x.name: x.values[i], y.name: y.values[j]}
        cells[i, j] = cell(settings, (scores or {}).get((i, j), 0.0), int(verdicts[i, j]))
    return cells, verdicts


@pytest.mark.parametrize(
    ("good", "index", "ends"),
    [
        ("x.x", 0, (0, 0)),
        ("x.x", 2, (2, 2)),
        ("xx", 1, (0, 1)),
        ("xx", 0, (0, 1)),
        ("xxx.x", 1, (0, 2)),
        ("x.xxx", 3, (2, 4)),
        (".x.", 1, (1, 1)),
        ("x", 0, (0, 0)),
    ],
)
def test_a_range_is_the_run_of_good_cells(good, index, ends):
    assert good_range(np.array([letter == "x" for letter in good]), index) == ends


@pytest.mark.parametrize(
    ("beta1", "beta2", "admissible"),
    [
        (0.9, 0.81, False),
        (0.9, 0.811, True),
        (0.0, 0.0, True),
        (0.1, 0.0, False),
        (None, 0.5, True),
        (0.9, None, True),
    ],
)
def test_beta1_below_the_root_of_beta2_is_admissible(beta1, beta2, admissible):
    given = {"beta1": beta1, "beta2": beta2}
    settings = {name: value for name, value in given.items() if value is not None}
    assert is_admissible(cell(settings)) == admissible


def notes(x: Axis, y: Axis, **settings: float) -> list[str]:
    return [note.partition(": ")[2] for note in edge_notes(x, y, settings)]


def test_a_setting_on_an_edge_gets_a_range_that_extends_a_decade_beyond():
    y = Axis("beta2", (0.9, 0.99, 0.999))
    assert notes(LR, y, lr=1e-2, beta2=0.99) == []
    more = "the best value may lie beyond it. Extend the range: "
    assert notes(LR, y, lr=0.1, beta2=0.99) == [f"{more}--x lr=0.0001:1."]
    assert notes(LR, y, lr=1e-4, beta2=0.99) == [f"{more}--x lr=1e-05:0.1."]
    assert notes(LR, y, lr=1e-3, beta2=0.999) == [f"{more}--y beta2=0.9:0.9999."]
    assert notes(LR, y, lr=1e-3, beta2=0.9) == [f"{more}--y beta2=0.09:0.999."]
    assert len(notes(LR, y, lr=0.1, beta2=0.9)) == 2
    assert notes(LR, BETA2, lr=1e-3, beta2=0.0) == []  # there is no smaller one
    zero = Axis("weight_decay", (0.0, 0.1, 1.0))
    assert notes(LR, zero, lr=1e-3, weight_decay=0.0) == []
    even = Axis("weight_decay", (0.5, 0.75, 1.0), scale="linear")
    assert notes(LR, even, lr=1e-3, weight_decay=1.0) == [f"{more}--y weight_decay=0.5:1.5."]


def test_a_setting_beyond_an_edge_extends_the_range_beyond_itself():
    more = "the best value may lie beyond it. Extend the range: "
    assert notes(LR, BETA2, lr=1.0, beta2=0.9) == [f"{more}--x lr=0.0001:10."]
    assert notes(LR, BETA2, lr=1e-6, beta2=0.9) == [f"{more}--x lr=1e-07:0.1."]
    assert notes(LR, BETA2, lr=1e-3, beta2=0.9999) == [f"{more}--y beta2=0:0.99999."]


def test_the_edge_of_a_map_counts_as_bad_one_cell_beyond():
    """On 4 x 9 decades: distances are capped at one decade, which every cell has to its edge."""
    scores = {(0, 0): -1.0}
    found = recommend(LR, EPS, *grid(LR, EPS, scores))
    assert (found.spot, found.distance) == ((0, 0), math.inf)
    assert "It has the lowest loss of 36 good cells that are at least 1 decade" in found.reason
    fine = Axis("lr", tuple(10.0 ** (-k / 2) for k in range(8, 3, -1)))  # half decades
    found = recommend(fine, EPS, *grid(fine, EPS, {(0, 0): -1.0, (4, 0): -1.0}))
    assert found.spot == (1, 0)  # a decade from its edge; an end is half of one
    assert "of 27 good cells" in found.reason


def test_the_only_cell_far_from_failures_is_recommended():
    failing = {(i, j) for i in range(4) for j in range(9)} - {(1, j) for j in range(9)}
    cells, verdicts = grid(LR, EPS, failing=failing)
    cells = {(1, 4): cells[1, 4]}
    found = recommend(LR, EPS, cells, verdicts)
    assert (found.spot, found.distance, found.window) == ((1, 4), 1.0, (1e-9, 1e-1))
    assert found.reason.startswith("It is the only good cell at least 1 decade from every cell")
    assert found.reason.endswith("from the map's lower edge to the map's upper edge.")
    near = Axis("lr", (1e-3, 2e-3, 4e-3, 8e-3))
    found = recommend(near, EPS, {(1, 4): cells[1, 4]}, verdicts)
    assert found.reason.startswith("No good cell is farther from the cells that are not good and")
    assert "from the edges of the map: 0.30 decades; at this" in found.reason
    assert recommend(LR, EPS, {(0, 0): cell({}, verdict=FAILING)}, verdicts) is None


def test_candidates_are_the_best_inside_the_map_apart_from_each_other():
    """Rows of one score; cells on an edge come last, and five are taken."""
    row = Axis("lr", tuple(10.0**k for k in range(-7, 1)))
    scores = {(i, j): 0.1 * i for i in range(8) for j in range(3)}
    cells, _ = grid(row, Axis("eps", (1e-8, 1e-7, 1e-6)), scores)
    found = candidates(row, Axis("eps", (1e-8, 1e-7, 1e-6)), cells)
    assert [round(math.log10(each["lr"])) for each in found] == [-6, -5, -4, -3, -2]
    assert {each["eps"] for each in found} == {1e-7}
    assert [*found[0]] == ["lr", "eps"]
    few = {spot: cells[spot] for spot in ((1, 1), (0, 0))}
    assert [each["lr"] for each in candidates(row, Axis("eps", (1e-8, 1e-7, 1e-6)), few)] == [
        1e-6,
        1e-7,
    ]
    assert candidates(row, Axis("eps", (1e-8, 1e-7, 1e-6)), {}) == []


@pytest.mark.parametrize(("spacing", "number"), [(0.39, 1), (0.41, 2)])
def test_candidates_are_two_fifths_of_a_decade_apart(spacing, number):
    x = Axis("lr", (1e-5, 1e-3, 1e-3 * 10**spacing, 1.0))
    y = Axis("eps", (1e-9, 1e-8, 1e-7))
    cells, _ = grid(x, y)
    assert len(candidates(x, y, {spot: cells[spot] for spot in ((1, 1), (2, 1))})) == number


@pytest.mark.parametrize(("apart", "first"), [(0.34, 1e-3), (0.36, 1e-2)])
def test_a_score_is_averaged_over_a_third_of_a_decade(apart, first):
    """0.2 alone is better than 0 beside 1, and worse than 0 alone; scores above 1 count as 1."""
    x = Axis("lr", (1e-6, 1e-3, 1e-2, 1e-2 * 10**apart, 10.0))
    y = Axis("eps", (1e-9, 1e-8, 1e-7))
    cells, _ = grid(x, y, {(1, 1): 0.2, (2, 1): 0.0, (3, 1): 9.0})
    kept = {spot: cells[spot] for spot in ((1, 1), (2, 1), (3, 1))}
    assert candidates(x, y, kept)[0]["lr"] == first


def test_beta_zero_is_no_edge_for_candidates():
    y = Axis("eps", (1e-9, 1e-8, 1e-7))
    cells, _ = grid(BETA2, y, {(0, 1): 0.0, (1, 1): 0.5, (2, 1): 0.9})
    assert candidates(BETA2, y, cells)[0]["beta2"] == 0.0
    above = Axis("beta2", (0.5, 0.9, 0.99, 0.999))
    cells, _ = grid(above, y, {(0, 1): 0.0, (1, 1): 0.5, (2, 1): 0.9})
    assert candidates(above, y, cells)[0]["beta2"] == 0.9


# decisions


def decided(setting: dict, default: dict, best_default: dict | None = None, notes=()) -> Decision:
    return Decision(
        setting, default, best_default or default, GAIN, GAIN, (1e-3, 1e-1), (1, 1), notes
    )


DEFAULT = {"beta1": 0.9, "beta2": 0.999, "lr": 0.01}


def test_a_decision_is_placed_at_its_nearest_cell():
    """beta2 = 0.96 is nearest to 0.9 or 0.99 by horizon: 25 is 1.4 decades, nearer to 10."""
    x, y = Axis("beta1", (0.0, 0.9, 0.99)), BETA2
    _, verdicts = grid(x, y, failing={(1, 0), (2, 3)})
    setting = {"beta1": 0.9, "beta2": 0.96, "lr": 0.03}
    fixed = {"eps": 1e-8, "lr": 0.01}
    found = with_decision(decided(setting, DEFAULT, notes=("a note",)), x, y, verdicts, fixed)
    assert found.settings == {**setting, "eps": 1e-8}
    assert (found.spot, found.distance) == ((1, 1), 1.0)
    assert found.window == (0.9, 0.999)
    assert found.notes == ("a note",)
    edge = {"beta1": 0.9, "beta2": 0.9999, "lr": 0.03}
    assert len(with_decision(decided(edge, DEFAULT), x, y, verdicts, fixed).notes) == 1
    kept = {**DEFAULT, "lr": 0.03}
    assert with_decision(decided(kept, DEFAULT), x, y, verdicts, fixed).notes == ()
    all_good = np.zeros((3, 4), np.int8)
    assert with_decision(decided(kept, DEFAULT), x, y, all_good, fixed).distance == math.inf


def test_a_decision_says_what_it_keeps():
    text = "loss 20% lower (95% interval 10% to 30%, 8 paired seeds)"
    best = {**DEFAULT, "lr": 0.03}
    kept = decision_reason(decided(DEFAULT, DEFAULT))
    assert kept == (
        "Keep the default (0.9, 0.999) and lr = 0.01: no other setting is measurably better; the "
        f"best of them: {text}."
    )
    rate = decision_reason(decided(best, DEFAULT, best))
    assert rate.startswith(
        f"Keep the default (0.9, 0.999) with lr = 0.03: {text} than at lr = 0.01;"
    )
    other = decision_reason(decided({**best, "beta2": 0.95}, DEFAULT, best))
    assert other == (
        "Measurably better than the default (0.9, 0.999) at its best learning rate, lr = 0.03: "
        f"{text}; over the default at lr = 0.01: {text}."
    )
    one = {"beta2": 0.999, "lr": 0.01}
    assert decision_reason(decided(one, one)).startswith("Keep the default beta2 = 0.999 and lr")
