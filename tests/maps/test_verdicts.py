"""Verdicts, recommendation and marks on small maps whose right answer is known on paper."""

from __future__ import annotations

import math

import numpy as np
import pytest

from betaplane.maps.grid import Axis
from betaplane.maps.phase_map import DEGRADED, FAILING, GOOD, Thresholds
from betaplane.maps.recommend import candidates, recommend
from betaplane.maps.verdicts import judge, mark, score, verdict

INF = math.inf
LIMITS = Thresholds(good=0.1, failing=0.5)
DECADES = 0.0, 0.9, 0.99, 0.999, 0.9999  # of memory horizon: positions 0, 1, 2, 3, 4


def test_the_score_is_the_part_of_the_way_that_is_left():
    assert score(1.5, initial=3.0, best=1.0) == 0.25
    assert score(5.0, initial=3.0, best=1.0) == 2.0
    assert score(1.0, initial=3.0, best=1.0) == 0.0
    assert score(INF, initial=3.0, best=1.0) == score(math.nan, initial=3.0, best=1.0) == INF


@pytest.mark.parametrize("initial", [1.0, 0.5])
def test_without_a_way_to_go_only_the_best_is_good(initial):
    assert score(1.0, initial=initial, best=1.0) == score(0.9, initial=initial, best=1.0) == 0.0
    assert score(1.1, initial=initial, best=1.0) == INF


def test_a_short_way_counts_as_one():
    assert score(0.75, initial=1.0, best=0.5) == 0.5


def test_the_thresholds_themselves_are_degraded():
    scores = 0.0, 0.0999, 0.1, 0.5, 0.5001, INF, math.nan
    assert [verdict(s, LIMITS) for s in scores] == [
        GOOD,
        GOOD,
        DEGRADED,
        DEGRADED,
        FAILING,
        FAILING,
        FAILING,
    ]


def cell(*finals):
    curves = [np.array([2.0, final]) for final in finals]
    scores = [score(final, initial=2.0, best=0.0) for final in finals]
    return judge({"beta1": 0.9}, finals, curves, scores, LIMITS)


def test_a_cell_is_the_median_of_its_seeds():
    found = cell(0.1, 1.8, 0.4)
    assert (found.score, found.verdict, found.finals) == (0.2, DEGRADED, (0.1, 1.8, 0.4))
    assert found.settings == {"beta1": 0.9}
    assert found.curve.tolist() == [2.0, 0.4]
    assert found.p_fail == pytest.approx(1 / 3)
    assert found.p_low < 1 / 3 < found.p_high


def test_of_an_even_number_of_seeds_the_upper_of_the_middle_two_decides():
    one_diverged = cell(0.1, INF)
    assert (one_diverged.score, one_diverged.verdict) == (INF, FAILING)
    assert one_diverged.curve[-1] == INF
    assert one_diverged.p_fail == 0.5
    four = cell(0.1, 0.2, 0.4, 1.9)
    assert (four.score, four.curve[-1]) == (0.2, 0.4)
    assert cell(0.1, 0.2, 0.4, 0.6, 1.9).score == 0.2


def test_the_interval_of_p_fail_is_wilsons():
    """z = 1.96, 1 of 4: center (1/4 + z^2/8) / (1 + z^2/4), half width z sqrt(3/64 + z^2/64) / (1 +
    z^2/4).
    """
    found, z = cell(0.1, 0.2, 0.3, 1.9), 1.959964
    center, half = (
        (1 / 4 + z**2 / 8) / (1 + z**2 / 4),
        z * math.sqrt(3 / 64 + z**2 / 64) / (1 + z**2 / 4),
    )
    assert found.p_low == pytest.approx(center - half, rel=1e-4)
    assert found.p_high == pytest.approx(center + half, rel=1e-4)


def chart(text: str) -> np.ndarray:
    """Verdicts from a drawing: one line per y, the largest first; "." is good, "d" degraded, "x"
    failing.
    """
    lines = text.split()[::-1]
    return np.array(
        [[".dx".index(line[i]) for line in lines] for i in range(len(lines[0]))], np.int8
    )


def recommended(text, x=None, y=None, scores=None, trained=None):
    """The recommendation on a drawing, every cell trained unless said; all scores are 0 unless
    given.
    """
    verdicts = chart(text)
    x, y = (
        Axis(n, v) for n, v in (("beta1", x or DECADES[: len(verdicts)]), ("beta2", y or DECADES))
    )
    cells = {}
    for spot in trained or np.ndindex(verdicts.shape):
        level = (
            {GOOD: 0.0, DEGRADED: 1.2, FAILING: INF}[int(verdicts[spot])]
            if scores is None
            else scores[spot]
        )
        settings = {"beta1": x.values[spot[0]], "beta2": y.values[spot[1]]}
        cells[spot] = judge(
            settings, [level], [np.array([level])], [score(level, 4.0, 0.0)], LIMITS
        )
    return recommend(x, y, cells, verdicts)


QUARTERS = tuple(1 - 10.0 ** -(k / 4) for k in range(6))  # positions 0, 0.25, 0.5, ..., 1.25
FINE = QUARTERS[:5]  # all within one decade


def test_the_most_robust_good_cell_is_recommended():
    """On quarter decades: three cells from the failures, and three from each edge of the map, as no
    other cell is.
    """
    text = """
        .....
        .....
        .....
        .....
        .....
        xxxxx
    """
    found = recommended(text, x=QUARTERS[1:6], y=QUARTERS)
    assert found.spot == (2, 3)
    assert found.distance == pytest.approx(0.75)
    assert found.window == (QUARTERS[1], QUARTERS[5])
    assert found.settings == {"beta1": QUARTERS[3], "beta2": QUARTERS[3]}


def test_beta_zero_is_no_edge_and_the_last_value_is_one_cell_from_it():
    """All good on quarter decades: from beta1 = beta2 = 0 the upper edges are farthest."""
    found = recommended("..... ..... ..... ..... .....", x=FINE, y=FINE)
    assert found.spot == (0, 0)
    assert found.distance == INF
    assert found.reason.startswith(
        "It has the lowest loss of 3 good cells that are at least 1 decade"
    )
    assert recommended("..... ..... ..... ..... .....", x=QUARTERS[1:], y=QUARTERS[1:]).spot == (
        2,
        2,
    )


def test_among_cells_that_are_robust_enough_the_lowest_score_is_taken():
    """Row 0 fails; rows 1 to 4 are one decade from it or more, which is enough; the last is one
    cell from the edge.
    """
    text = "... ... ... ... xxx"
    scores = np.full((3, 5), 0.3)
    scores[:, 0] = INF
    scores[1, 1], scores[0, 2], scores[2, 4] = 0.03, 0.02, 0.01
    found = recommended(text, scores=scores)
    assert found.spot == (2, 4)
    assert found.distance == pytest.approx(4.0)
    scores[2, 4] = 0.025
    assert recommended(text, scores=scores).spot == (0, 2)


def test_a_lucky_cell_beside_a_failure_is_not_taken():
    """Half decades: the cell beside the failure has 0.5 decades, one further has a whole one and a
    higher loss.
    """
    values = tuple(1 - 10.0 ** -(k / 2) for k in range(5))
    scores = np.array([[INF, 0.0, 0.2, 0.3, 0.3]] * 2)
    found = recommended(".. .. .. .. xx", y=values, scores=scores)
    assert found.spot == (0, 2)
    assert found.distance == pytest.approx(1.0)


def test_the_distance_is_euclidean_over_both_axes():
    text = """
        ....x
        .....
        .....
        .....
        .....
    """
    found = recommended(text, x=FINE, y=FINE)
    assert found.spot == (0, 0)
    assert found.distance == pytest.approx(math.sqrt(2))
    found = recommended(text, x=FINE, y=FINE, trained=[(3, 2)])
    assert found.distance == pytest.approx(math.hypot(0.25, 0.5))


def test_degraded_cells_are_not_good():
    assert recommended("dd ..", x=FINE[:2], y=FINE[:2]).spot == (0, 0)
    assert recommended(".. dd", x=FINE[:2], y=FINE[:2]).spot[1] == 1
    assert recommended("dd xx", x=FINE[:2], y=FINE[:2]) is None


def test_only_trained_cells_are_recommended():
    found = recommended("..... ..... ..... ..... xxxxx", x=FINE, y=FINE, trained=[(1, 1), (0, 0)])
    assert found.spot == (1, 1)


def test_beta1_above_the_root_of_beta2_is_never_recommended():
    """Good everywhere: (0.9, 0) and (0.99, 0.9) have the lowest scores."""
    scores = np.full((3, 5), 0.05)
    scores[1, 0], scores[2, 1], scores[1, 2] = 0.0, 0.001, 0.04
    found = recommended("... ... ... ... ...", scores=scores)
    assert found.settings == {"beta1": 0.9, "beta2": 0.99}
    assert recommended("x. x.", x=DECADES[:2], y=DECADES[:2], trained=[(1, 0), (1, 1)]).spot == (
        1,
        1,
    )
    assert recommended("x. x.", x=DECADES[:2], y=DECADES[:2], trained=[(1, 0)]) is None


def test_a_setting_on_the_edge_of_the_map_says_how_to_extend_it():
    found = recommended(".. xx xx xx xx", x=DECADES[:2])
    assert found.spot[1] == 4
    assert any(
        "beta2 = 0.9999 lies on the edge" in note and "--y beta2=0:0.99999" in note
        for note in found.notes
    )
    inside = recommended("..... ..... ..... ..... xxxxx", trained=[(2, 3)])
    assert inside.notes == ()


def test_candidates_are_apart_and_the_lowest_in_their_neighborhood():
    x, y = Axis("beta1", FINE), Axis("beta2", FINE)
    scores = np.full((5, 5), 0.09)
    scores[1, 1] = 0.0  # its neighbors are worse than those of (1, 3)
    scores[0, 3] = scores[1, 3] = scores[2, 3] = 0.01
    scores[:, 4] = 0.001  # on the edge
    cells = {}
    for i, j in np.ndindex(5, 5):
        settings = {"beta1": FINE[i], "beta2": FINE[j]}
        cells[i, j] = judge(settings, [0.0], [np.zeros(1)], [scores[i, j]], LIMITS)
    found = candidates(x, y, cells)
    assert found[0] == {"beta1": FINE[1], "beta2": FINE[3]}
    assert 1 < len(found) <= 5
    assert found[1]["beta2"] < FINE[4]
    places = [(4 * -math.log10(1 - c["beta1"]), 4 * -math.log10(1 - c["beta2"])) for c in found]
    away = [math.dist(a, b) / 4 for k, a in enumerate(places) for b in places[:k]]
    assert min(away) >= 0.4


def test_the_window_is_the_run_of_good_cells_around_the_setting():
    """From the bottom: good, failing, three good, failing; only the run of three belongs to the
    window.
    """
    y = tuple(1 - 10.0**-k for k in range(1, 7))
    found = recommended(".. xx .. .. .. xx", x=FINE[:2], y=y, trained=[(1, 2)])
    assert found.window == (y[1], y[3])
    found = recommended("xx .. .. .. xx ..", x=FINE[:2], y=y, trained=[(1, 3)])
    assert found.spot[1] == 3
    assert found.window == (y[2], y[4])
    assert "from beta2 = 0.999 to beta2 = 0.99999" in found.reason


def test_the_reason_names_edges_that_are_not_ends():
    found = recommended(".. .. .. .. xx", x=DECADES[:2])
    assert found.window == (0.9, 0.9999)
    assert "from beta2 = 0.9 to the map's upper edge." in found.reason
    found = recommended("xx .. .. .. ..", x=DECADES[:2])
    assert found.window == (0.0, 0.999)
    assert "from the map's lower edge to beta2 = 0.999." in found.reason
    assert "decade" in found.reason
    assert "horizon" not in found.reason  # distances along other axes are none


def marked(beta1, beta2, text="..... ..... ..... ..... xxxxx"):
    x, y = Axis("beta1", DECADES), Axis("beta2", DECADES)
    return mark("mine", {"beta1": beta1, "beta2": beta2, "lr": 1.0}, x, y, chart(text))


def test_a_mark_has_the_verdict_of_its_nearest_cell_and_the_distance_to_the_nearest_other_one():
    found = marked(0.9, 0.999)
    assert (found.label, found.x, found.y) == ("mine", 0.9, 0.999)
    assert (found.verdict, found.distance) == (GOOD, pytest.approx(3.0))
    between = marked(1 - 10**-1.4, 1 - 10**-0.4)  # nearest to (0.9, 0), which fails
    assert (between.verdict, between.distance) == (FAILING, pytest.approx(math.hypot(0.4, 0.6)))


def test_a_mark_half_a_cell_beyond_the_map_still_has_a_verdict():
    """Half is one cell here: the widest spacing of the axes, one decade."""
    assert marked(0.9, 1 - 10**-4.99).verdict == GOOD
    assert marked(1 - 10**-4.99, 0.999).verdict == GOOD
    for far in (marked(0.9, 1 - 10**-5.01), marked(1 - 10**-5.01, 0.999)):
        assert (far.verdict, far.distance) == (None, INF)


def test_a_mark_below_the_map_is_outside():
    x, y = Axis("beta1", (0.0, 0.9)), Axis("beta2", (0.999, 0.9999))
    verdicts = chart(".. xx")
    for beta2, inside in ((1 - 10**-2.01, True), (1 - 10**-1.99, False), (0.9, False)):
        assert (
            mark("", {"beta1": 0.0, "beta2": beta2}, x, y, verdicts).verdict is not None
        ) == inside
    x = Axis("beta1", (0.99, 0.999))
    for beta1, inside in ((1 - 10**-1.01, True), (1 - 10**-0.99, False)):
        assert (
            mark("", {"beta1": beta1, "beta2": 0.999}, x, y, verdicts).verdict is not None
        ) == inside


def test_marks_on_one_verdict_or_without_an_axis():
    assert marked(0.9, 0.99, "..... ..... ..... ..... .....").distance == INF
    x, y = Axis("beta1", DECADES), Axis("beta2", DECADES)
    for settings in ({"beta1": 0.9}, {"beta2": 0.9}, {}):
        assert mark("mine", settings, x, y, chart("..... ..... ..... ..... .....")) is None
