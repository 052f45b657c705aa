"""Settings of parameter groups: both engines against a plain loop of torch."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn

from betaplane.errors import BadInput
from betaplane.maps import map_phases, plan_for
from betaplane.problems import Problem, check, fingerprint
from betaplane.problems.optimizer_settings import check_settings
from betaplane.problems.order import minibatches
from betaplane.replicas import Options, Run, train_plain, train_stacked
from betaplane.replicas.proof import why_plain
from betaplane.rules import SGD, Adam, AdamW

X = torch.randn(48, 6, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True).tanh()
WHOLE = Options(early_stop=False, points=12)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 5))
        self.gain = nn.Parameter(torch.ones(()))
        self.head = nn.Linear(5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gain * self.head(self.body(x).tanh())


def groups(module, settings):
    named = dict(module.named_parameters())
    return [
        {"name": "matrices", "params": [p for p in named.values() if p.dim() > 1]},
        {
            "name": "others",
            "params": [p for p in named.values() if p.dim() <= 1],
            "lr": 2 * settings["lr"],
            "weight_decay": 0.0,
            "betas": (0.8, 0.95),
        },
    ]


def problem(**changes) -> Problem:
    loss = nn.functional.mse_loss
    return Problem("net", Net, loss, X, Y, batch_size=8, steps=12, lr=0.02, **changes)


NET = problem()


def with_torch(torch_groups, optimizer, lrs_of_step) -> list[float]:
    """The losses of the documented loop, with groups as a user of torch writes them."""
    torch.manual_seed(3)
    module = Net()
    optimizer = optimizer(torch_groups(module))
    losses = []
    for t, index in enumerate(minibatches(48, 8, "shuffle", 3, block=1)):
        if t == 12:
            return losses
        for group, lr in zip(optimizer.param_groups, lrs_of_step(t), strict=True):
            group["lr"] = lr
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(module(X[index[0]]), Y[index[0]])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_groups_of_submodules_train_as_in_torch():
    run = Run(Adam(beta1=0.85), 0.02, 8, 3, own=(("body.2.beta2", 0.9), ("head.lr", 0.1)))
    losses = with_torch(
        lambda m: [
            {"params": [*m.body[0].parameters(), m.gain]},
            {"params": m.body[2].parameters(), "betas": (0.85, 0.9)},
            {"params": m.head.parameters()},
        ],
        lambda given: torch.optim.Adam(given, betas=(0.85, 0.999), fused=True),
        lambda t: (0.02, 0.02, 0.1),
    )
    plain = train_plain(NET, run, WHOLE)
    assert plain.curve.tolist() == np.array(losses, np.float32).tolist()


def test_groups_of_the_user_train_as_in_torch():
    own = problem(groups=groups, schedule="warmup_linear", warmup=0.25)
    run = Run(AdamW(weight_decay=0.3), 0.02, 8, 3, own=(("others.lr", 0.07),))
    factors = [1 / 3, 2 / 3, 1, *(np.arange(9, 0, -1) / 9)]
    losses = with_torch(
        lambda m: groups(m, {"lr": 0.02}),
        lambda given: torch.optim.AdamW(given, weight_decay=0.3, fused=True),
        lambda t: (0.02 * factors[t], 0.07 * factors[t]),
    )
    plain = train_plain(own, run, WHOLE)
    assert plain.curve == pytest.approx(losses, rel=1e-4)
    assert why_plain(own, run, WHOLE) == ""


@pytest.mark.parametrize(
    ("rule", "own"), [(AdamW(decay="independent"), "body.0.lr"), (SGD(momentum=0.9), "gain.lr")]
)
def test_a_stack_with_groups_trains_as_the_plain_engine(rule, own):
    values = (0.003, 0.2)
    runs = [Run(rule, lr, 8, 3, own=((own, v),)) for v in values for lr in (0.01, 0.02)]
    assert why_plain(NET, runs[0], WHOLE) == ""
    stacked = train_stacked(NET, runs, WHOLE)
    for run, outcome in zip(runs, stacked, strict=True):
        assert outcome.curve == pytest.approx(train_plain(NET, run, WHOLE).curve, rel=1e-4)
    assert len({outcome.final for outcome in stacked}) == 4


def test_decay_relative_to_the_peak_uses_the_peak_of_the_group():
    def curve(*own):
        rule = AdamW(weight_decay=0.05, decay="independent")
        return train_plain(problem(), Run(rule, 0.02, 8, 3, own=own), WHOLE).curve.tolist()

    everything = [(f"{name}.lr", 0.1) for name in ("body", "gain", "head")]
    rule = AdamW(weight_decay=0.05, decay="independent")
    at_once = train_plain(problem(), Run(rule, 0.1, 8, 3), WHOLE).curve.tolist()
    assert curve(*everything) == at_once != curve()


def test_a_map_varies_the_settings_of_two_groups():
    axes = ("body.beta2", 0.9, 0.99), ("matrices.lr", 0.001, 0.1)
    with pytest.raises(BadInput, match="Unknown parameter group 'matrices'"):
        plan_for(problem(), *axes, 2)
    found = map_phases(
        problem(), axes[0], ("head.lr", 0.001, 0.1), 2,
        seeds=1, dense=True, workers=0, engine="stacked", search_lr=False, options=WHOLE,
    )  # fmt: skip
    assert found.facts["engine"] == "stacked"
    for cell in found.cells.values():
        own = tuple((name, cell.settings[name]) for name in ("body.beta2", "head.lr"))
        alone = train_plain(problem(), Run(Adam(), 0.02, 8, 0, own=own), WHOLE)
        assert cell.finals[0] == pytest.approx(alone.final, rel=1e-4)
    assert len({cell.finals[0] for cell in found.cells.values()}) == 4


def test_groups_are_a_part_of_the_problem():
    plain, own = problem(), problem(groups=groups)
    assert fingerprint(plain) == fingerprint(problem()) != fingerprint(own)
    other = problem(groups=lambda m, s: [{**g, "eps": 1e-3} for g in groups(m, s)])
    assert fingerprint(own) != fingerprint(other)


WRONG = {
    "nothing": (lambda m, s: None, "does not return parameter groups: got 'NoneType'"),
    "no params": (lambda m, s: [{"name": "a"}], "does not return parameter groups"),
    "missing": (
        lambda m, s: groups(m, s)[:1],
        "A parameter is in no group, so that an optimizer would not train it: got 'gain'",
    ),
    "twice": (lambda m, s: groups(m, s) * 2, "Two groups have one name: got 'matrices'"),
    "stranger": (
        lambda m, s: [{"params": [*m.parameters(), nn.Parameter(X)]}],
        "A group contains what is no parameter",
    ),
    "betas": (lambda m, s: [{"params": m.parameters(), "betas": 0.9}], "betas do not fit: got 0.9"),
    "raises": (lambda m, s: 1 / 0, "Making the parameter groups of problem 'net' failed"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_groups_are_refused(name):
    function, message = WRONG[name]
    with pytest.raises(BadInput, match=re.escape(message)):
        check(problem(groups=function))


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        (
            "bdy.lr",
            "Unknown parameter group 'bdy'. Did you mean 'body'? Choose one of: gain, body, head",
        ),
        ("body.bet2", "Unknown setting of a parameter group 'bet2'. Did you mean 'beta2'?"),
        ("body.batch_size", "Unknown setting of a parameter group 'batch_size'"),
    ],
)
def test_wrong_names_of_groups_are_refused(axis, message):
    with pytest.raises(BadInput, match=re.escape(message)):
        plan_for(problem(), axis, "lr", 2)
    with pytest.raises(BadInput, match=re.escape("Unknown parameter group 'body'")):
        plan_for(problem(groups=groups), "body.lr", "lr", 2)


def test_unknown_settings_of_own_groups_are_refused():
    own = problem(groups=lambda m, s: [{"params": m.parameters(), "momentum": 0.9}])
    with pytest.raises(BadInput, match="Unknown setting of a group 'momentum'"):
        plan_for(own, "beta1", "lr", 2)


def test_a_setting_of_a_group_is_read_back_from_the_optimizer():
    p, q = nn.Parameter(X), nn.Parameter(Y)

    def read(name, value, *names):
        given = [{"params": [t], "lr": lr, **n} for t, lr, n in zip((p, q), (0.1, 0.2), names)]  # noqa: B905
        check_settings({name: value}, [name], [torch.optim.SGD(given)], [], "here")

    named = {"name": "embedding"}, {"name": "head"}
    read("head.lr", 0.2, *named)
    read("head.lr", 0.2, {}, {})  # without names, one of the groups has the value
    with pytest.raises(
        BadInput, match=r"The setting head.lr had no effect: the run trains with 0.2"
    ):
        read("head.lr", 0.1, *named)
    with pytest.raises(BadInput, match=r"Unknown parameter group 'hed'. Did you mean 'head'"):
        read("hed.lr", 0.2, *named)
