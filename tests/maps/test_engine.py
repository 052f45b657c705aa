"""Which engine a map takes, and that it says why."""

import io

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from betaplane import Problem, figures, map_phases
from betaplane.errors import BadInput
from betaplane.maps import to_json, tune
from betaplane.maps.export import rows

X = torch.linspace(-1, 1, 16)[:, None]
X = X / X.std(correction=0)  # mean 0, variance 1
SMALL = {"points": 3, "seeds": 1, "boundary_seeds": 1, "workers": 0, "dense": True}


class Counting(nn.Module):
    """A weight, and a term that is switched on at step 5."""

    def __init__(self):
        super().__init__()
        self.w, self.calls = nn.Parameter(torch.zeros(1)), 0

    def forward(self, x):
        self.calls += self.training
        return self.w + (self.calls >= 5) * 10.0 + 0 * x


class Frozen(nn.Module):
    """y = 0 x + b with the 0 frozen: the mean of (b - x)^2 is b^2 + 1, at least 1 for any b."""

    def __init__(self):
        super().__init__()
        self.body, self.b = nn.Linear(1, 1, bias=False), nn.Parameter(torch.ones(1))
        nn.init.zeros_(self.body.weight)
        self.body.requires_grad_(False)

    def forward(self, x):
        return self.body(x) + self.b


def problem(make, **fields):
    own = {"batch_size": 16, "steps": 20, "lr": 0.02, **fields}
    return Problem(make.__name__, make, nn.functional.mse_loss, X, X, **own)


def test_a_problem_that_cannot_be_stacked_is_mapped_plain_with_the_reason(tmp_path):
    store = tmp_path / "counting.sqlite"
    for _ in range(2):  # measured, and read from the store
        found = map_phases(problem(Counting), store=store, **SMALL)
        assert found.facts["engine"] == "plain"
        assert "module.calls changes" in found.facts["why plain"]
        assert "module.calls changes" in figures.html(found)
        assert "module.calls changes" in to_json(found)["facts"]["why plain"]
        out = io.StringIO()
        Console(file=out, width=200).print(figures.summary(found))
        assert (
            "trained one run at a time: not stacked, because module.calls changes" in out.getvalue()
        )
    finals = [row["final"] for row in rows(found) if row["trained"]]
    assert min(finals) > 80  # the term of 10 is on


def test_a_stack_that_is_asked_for_and_cannot_be_is_refused():
    with pytest.raises(
        BadInput, match=r"cannot be stacked, because module\.calls changes.*engine=.auto."
    ):
        map_phases(problem(Counting), engine="stacked", **SMALL)


def test_tune_gives_the_reason_for_one_run_at_a_time():
    found = tune(problem(Counting), seeds=2, max_runs=16, workers=0)
    assert "module.calls changes" in found.why_plain
    assert "module.calls changes" in found.to_dict()["why_plain"]


@pytest.mark.parametrize("engine", ["auto", "stacked", "plain"])
def test_frozen_weights_stay_frozen_on_a_map(engine):
    found = map_phases(problem(Frozen, steps=100), engine=engine, **SMALL)
    finals = np.array([row["final"] for row in rows(found) if row["trained"]])
    assert len(finals) == 9
    assert finals.min() > 0.999
    assert "why plain" not in found.facts
