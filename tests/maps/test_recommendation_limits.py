"""What no recommendation may be, over a thousand random maps."""

from __future__ import annotations

import math

import numpy as np
from benchmarks.synthetic_maps import random_scores

from betaplane.maps.decision import Decision, gain
from betaplane.maps.recommend import candidates, recommend, with_decision

MAPS = 1000


def lies_on_edge(ax, value: float) -> bool:
    return value == ax.values[-1] or (value == ax.values[0] and value != 0)


def test_no_recommendation_is_inadmissible_or_on_an_unmarked_edge():
    recommended = 0
    for seed in range(MAPS):
        x, y, cells, verdicts = random_scores(seed)
        found = recommend(x, y, cells, verdicts)
        tried = candidates(x, y, cells)
        assert (found is None) == (not tried)
        for betas in tried:
            assert betas["beta1"] == 0 or betas["beta1"] < math.sqrt(betas["beta2"])
        if found is None:
            continue
        recommended += 1
        beta1, beta2 = found.settings["beta1"], found.settings["beta2"]
        assert beta1 == 0 or beta1 < math.sqrt(beta2)
        on_edges = [ax.name for ax, value in ((x, beta1), (y, beta2)) if lies_on_edge(ax, value)]
        assert [note.split()[0] for note in found.notes] == on_edges
    assert recommended > MAPS // 2


def test_a_decided_setting_beyond_the_map_is_marked():
    x, y, _, verdicts = random_scores(0)
    default = {"beta1": 0.9, "beta2": 0.999, "lr": 0.01}
    other = {"beta1": 0.5, "beta2": 0.99999, "lr": 0.01}
    better = gain(np.full(4, 0.5), np.full(4, 1.0), np.full(4, 2.0))
    decision = Decision(other, default, default, better, better, (0.01, 0.01), (0.01, 0.01), ())
    found = with_decision(decision, x, y, verdicts, {"eps": 1e-8, "lr": 0.01})
    assert found.settings["beta2"] == 0.99999
    assert any(note.startswith("beta2 = 0.99999 lies on the edge") for note in found.notes)
    kept = Decision(default, default, default, better, better, (0.01, 0.01), (0.01, 0.01), ())
    assert with_decision(kept, x, y, verdicts, {}).notes == ()
