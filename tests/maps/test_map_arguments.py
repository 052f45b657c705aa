"""What the Python API answers to mistakes, and what it accepts as a rule, a problem, a length of
time.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import betaplane
from betaplane.errors import BadInput
from betaplane.maps import Axis, map_phases
from betaplane.maps.plan import plan_for
from betaplane.maps.progress import shown_progress
from betaplane.maps.scheduler import Progress
from betaplane.optim.as_rule import as_rule
from betaplane.problems import Problem

X = torch.arange(8.0)[:, None]
LINE = Problem(
    "line",
    lambda: nn.Linear(1, 1),
    nn.functional.mse_loss,
    X,
    2 * X,
    batch_size=4,
    steps=10,
    lr=0.01,
)
NET = nn.Linear(1, 1)


def mapped(*axes: object, points: object = 3, **how: object) -> betaplane.PhaseMap:
    return betaplane.map_phases(LINE, *axes, points=points, workers=0, **{"seeds": 1, **how})


MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "points as text": (lambda: mapped(points="6"), "Invalid number of cells: got '6'"),
    "points as a float": (lambda: mapped(points=6.0), "Try: points=24"),
    "three points": (lambda: mapped(points=(3, 3, 3)), "Invalid number of cells"),
    "one point": (lambda: mapped(points=1), "An axis needs at least 2 points"),
    "values as an axis": (lambda: mapped([0.9, 0.99]), 'Try: x=("beta2", 0.9, 0.999)'),
    "an axis with one end": (
        lambda: mapped(("beta1", 0.5)),
        "x is not an axis: got ('beta1', 0.5)",
    ),
    "ends as text": (lambda: mapped("beta1", ("beta2", "0", "0.9")), "y is not an axis"),
    "an unknown axis": (lambda: mapped("beta_1"), "Unknown axis 'beta_1'. Did you mean 'beta1'?"),
    "a module": (
        lambda: betaplane.map_phases(NET),
        'Try: Problem("mine", lambda: Linear(...), loss',
    ),
    "a module class": (
        lambda: betaplane.map_phases(nn.Linear),
        "A module is not a problem: got 'Linear'",
    ),
    "a function without arguments": (
        lambda: betaplane.map_phases(lambda: LINE),
        "The source is not a problem",
    ),
    "None": (lambda: betaplane.tune(None), "The source is not a problem: got None"),
    "lr as text": (
        lambda: mapped(lr="1e-3"),
        "lr is not a number: got '1e-3'; expected a number (lr). Try",
    ),
    "the command's word for lr": (lambda: mapped(lr="fixed"), "(lr). Try: search_lr=False"),
    "steps as a float": (lambda: mapped(steps=10.5), "steps is not a whole number: got 10.5"),
    "a misspelled argument": (
        lambda: mapped(seed=3),
        "Unknown argument 'seed'. Did you mean 'seeds'?",
    ),
    "its nearest name": (lambda: mapped(boundary_seed=3), "Try: boundary_seeds=..."),
    "a misspelled hyperparameter": (lambda: mapped(weigth_decay=0.1), "Try: weight_decay=..."),
    "a hyperparameter out of range": (
        lambda: mapped("lr", "eps", beta1=1.5),
        "beta1 is out of range: got 1.5",
    ),
    "a hyperparameter as text": (
        lambda: mapped("lr", "eps", beta1="0.5"),
        "beta1 is not a number: got '0.5'",
    ),
    "an unknown rule": (lambda: mapped(rule="adamm"), 'Try: rule="adam"'),
    "a rule's unknown option": (
        lambda: mapped(rule="adam:debia=none"),
        'Try: rule="adam:debias=none"',
    ),
    "a module as a rule": (lambda: mapped(rule=nn.Linear), "This is no update rule: got 'Linear'"),
    "an unknown engine": (lambda: mapped(engine="autos"), 'Try: engine="auto"'),
    "budget": (lambda: mapped(budget="soon"), "Invalid duration: got 'soon'"),
    "thresholds as a pair": (lambda: mapped(thresholds=(0.1, 0.5)), "Try: thresholds=Thresholds("),
    "workers as text": (
        lambda: betaplane.map_phases(LINE, workers="a"),
        "workers is not a whole number: got 'a'",
    ),
    "a store that is no path": (
        lambda: mapped(store=3),
        "store is of the wrong type: got 'int'; expected str",
    ),
    "settings as a pair": (
        lambda: mapped(settings=(0.9, 0.99)),
        'settings={"beta1": 0.9, "beta2": 0.98}',
    ),
    "settings misspelled": (
        lambda: mapped(settings={"beta_2": 0.99}),
        'Try: settings={"beta2": ...}',
    ),
    "progress": (lambda: mapped(progress="yes"), "progress is of the wrong type: got 'yes'"),
    "tune's steps": (
        lambda: betaplane.tune(LINE, workers=0, steps="5"),
        "steps is not a whole number: got '5'",
    ),
    "tune's changes": (
        lambda: betaplane.tune(LINE, workers=0, changes={"schedul": "x"}),
        "Unknown field 'schedul'",
    ),
    "a field of a problem": (lambda: LINE.with_(batchsize=4), "Try: batch_size=..."),
    "a verdict with one value": (
        lambda: mapped(search_lr=False).word(beta1=0.9),
        "A setting of this map needs a value for each",
    ),
    "a page of nothing": (
        lambda: betaplane.html("map"),
        "phase_map is of the wrong type: got 'str'",
    ),
    "a picture of nothing": (
        lambda: betaplane.png(None),
        "phase_map is of the wrong type: got 'NoneType'",
    ),
    "a problem by number": (lambda: betaplane.load(5), 'Try: load("digits")'),
    "a replay of nothing": (
        lambda: betaplane.replay_gradients(None),
        "source is of the wrong type: got 'NoneType'",
    ),
    "a prediction from text": (
        lambda: betaplane.predict_map("x"),
        "replay is of the wrong type: got 'str'",
    ),
    "batches": (
        lambda: betaplane.record_pass(NET, nn.functional.mse_loss, 5),
        "batches is of the wrong type",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_sentence(mistake: str) -> None:
    call, sentence = MISTAKES[mistake]
    with pytest.raises(BadInput) as raised:
        call()
    assert sentence in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


RULES = {
    "name": "adamw",
    "name in capitals": "AdamW",
    "rule class": betaplane.rules.AdamW,
    "rule": betaplane.rules.AdamW(),
    "optimizer class": betaplane.AdamW,
    "torch's class": torch.optim.AdamW,
    "optimizer": betaplane.AdamW([nn.Parameter(torch.zeros(2))]),
    "torch's optimizer": torch.optim.AdamW([nn.Parameter(torch.zeros(2))]),
}


@pytest.mark.parametrize("given", RULES)
def test_a_rule_may_be_given_as(given: str) -> None:
    assert plan_for(LINE, rule=RULES[given]).rule == betaplane.rules.AdamW()


def test_options_follow_a_name() -> None:
    assert as_rule("adam:debias=none,beta1=0.8") == betaplane.rules.Adam(debias="none", beta1=0.8)
    assert as_rule("sgd:nesterov=true,momentum=0.9") == betaplane.rules.SGD(
        nesterov=True, momentum=0.9
    )


def test_an_optimizer_brings_its_options() -> None:
    p = nn.Parameter(torch.zeros(2))
    assert as_rule(
        torch.optim.Adam([p], amsgrad=True, betas=(0.5, 0.6))
    ) == betaplane.rules.AMSGrad(beta1=0.5, beta2=0.6, correction="after")
    assert as_rule(betaplane.Lion([p], betas=(0.5, 0.6))) == betaplane.rules.Lion(
        beta1=0.5, beta2=0.6
    )


def test_groups_with_different_options_are_no_rule() -> None:
    groups = [
        {"params": [nn.Parameter(torch.zeros(2))], "betas": betas}
        for betas in ((0.5, 0.6), (0.9, 0.99))
    ]
    with pytest.raises(BadInput, match="The groups of the optimizer have different options"):
        as_rule(torch.optim.Adam(groups))


def test_budget_and_hyperparameters_reach_the_plan() -> None:
    plan = plan_for(LINE, "lr", "eps", budget="20m", beta1=0.8, rule="adamw")
    assert (plan.seconds, plan.rule.beta1, plan.fixed["beta1"]) == (1200.0, 0.8, 0.8)


def test_a_function_is_a_problem() -> None:
    def train(settings: dict[str, float], seed: int) -> list[float]:
        return [1.0, settings["beta2"]]

    assert betaplane.map_phases(train, points=3, seeds=1, workers=0).problem == "train"


def test_reprs_are_short() -> None:
    phase_map = mapped(steps=300, lr=0.1, search_lr=False)
    watcher = betaplane.watch(torch.optim.Adam([nn.Parameter(torch.zeros(2))]), to=[])
    watcher.close()
    assert (
        repr(LINE) == "Problem('line', 8 examples of shape (1,), batch_size=4, steps=10, lr=0.01)"
    )
    assert repr(phase_map).startswith("PhaseMap('line', Adam, beta1 x beta2, 3 x 3 cells: ")
    assert repr(phase_map.recommendation).startswith("Recommendation(beta1=")
    assert repr(watcher) == "Watcher(Adam, every=10: 0 alerts by step 0)"
    assert all(
        len(repr(each)) < 200 for each in (LINE, phase_map, phase_map.recommendation, watcher)
    )


@pytest.mark.parametrize(("show", "shown"), [(True, True), (False, False), (None, False)])
def test_progress_appears_after_two_seconds(
    monkeypatch: pytest.MonkeyPatch, show: bool | None, shown: bool
) -> None:
    stream = io.StringIO()  # no terminal
    monkeypatch.setattr(sys, "stderr", stream)
    with shown_progress("runs", show) as bar:
        bar.watch(Progress(1, 8, 1, 0.5))
        early = bar.display
        bar.began -= 3.0
        bar.watch(Progress(4, 8, 4, 3.0))
        assert (early is None, bar.display is not None) == (True, shown)
    assert ("4/8" in stream.getvalue()) == shown


def test_progress_in_a_notebook(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    code = (
        "from betaplane.maps.progress import shown_progress\nfrom betaplane.maps.scheduler import Progress\n"
        "with shown_progress('runs', None) as bar:\n    bar.began -= 3\n    bar.watch(Progress(4, 8, 4, 3.0))\n"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(
        notebook, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert [output["data"]["text/plain"] for output in notebook.cells[0].outputs] == [
        "runs: 4 of 8, 1.3/s"
    ]


MORE_MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "an end as text": (
        lambda: betaplane.axis("beta1", "0", 0.9, 3),
        "low is not a number: got '0'",
    ),
    "points as text": (
        lambda: betaplane.axis("beta1", 0, 0.9, "3"),
        "points is not a number: got '3'",
    ),
    "an option of a problem": (lambda: betaplane.load("digits:hiden=16"), "Try: digits:hidden="),
    "an argument of the call": (lambda: mapped(pionts=3), "Try: points=..."),
    "negative seconds": (lambda: mapped(seconds=-1), "Invalid duration: got -1"),
    "no trial": (lambda: betaplane.optuna_betas(None), "trial is not an Optuna trial: got None"),
    "a beta as a range": (
        lambda: betaplane.optuna_betas(Trial(), beta1=0.9),
        "Invalid range of beta1: got 0.9",
    ),
}


class Trial:
    def suggest_float(self, name: str, low: float, high: float, log: bool = False) -> float:
        return low


@pytest.mark.parametrize("mistake", MORE_MISTAKES)
def test_a_mistake_beside_the_map_gets_one_sentence(mistake: str) -> None:
    call, sentence = MORE_MISTAKES[mistake]
    with pytest.raises(BadInput) as raised:
        call()
    assert sentence in str(raised.value)


def test_shared_option_of_rules_is_no_axis():
    """`clip` is a field of every rule, but a stack has one value of it."""
    clip = Axis("clip", (0.1, 1.0, 10.0))
    with pytest.raises(BadInput, match="Adam has no clip to put on an axis"):
        map_phases("quadratic", clip, "beta2", 3, steps=10, workers=0)
