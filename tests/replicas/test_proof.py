"""Whatever a module does, it is trained as its own loop trains it: stacked if that is proved, else
plain and said.
"""

import random

import numpy as np
import odd_modules
import pytest
import torch
from odd_modules import CARRIED, LOST
from torch import nn

from betaplane import Problem
from betaplane.problems import check, fingerprint
from betaplane.replicas import Options, Run, train_plain, train_stacked
from betaplane.replicas.proof import why_plain
from betaplane.rules import Adam, AdamW

STEPS, SEED = 12, 3
OPTIONS = Options(points=STEPS, early_stop=False)

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


def data():
    g = torch.Generator().manual_seed(1)
    x = torch.randn(16, 4, generator=g, dtype=torch.float64)
    return x, torch.stack([x.sum(1).sin(), x[:, 0]], dim=1)


def problem_of(make, loss=nn.functional.mse_loss, **fields):
    name = getattr(make, "__name__", "odd")
    own = {"batch_size": 16, "order": "cyclic", "steps": STEPS, "lr": 0.02, **fields}
    return Problem(name, lambda: make().double(), loss, *data(), **own)


def loop(make, loss, rule=torch.optim.Adam, steps=STEPS, **settings):
    """The loop that a user would write; on all the data, in their order."""
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    module, (x, y), losses = make().double(), data(), []
    own = loss.parameters() if isinstance(loss, nn.Module) else ()
    if any(map(nn.parameter.is_lazy, module.parameters())):
        module.eval()(x)
        module.train()
    optimizer = rule([*module.parameters(), *own], lr=0.02, **settings)
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(module(x.clone()), y)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses


def reset():
    """The state outside of modules, which only the loop above leaves changed."""
    odd_modules.COUNTS["calls"] = odd_modules.ClassCounter.k = odd_modules.OldFunction.calls = 0
    odd_modules.SETTINGS.scale = 1.0
    odd_modules.os.environ.pop("ODD_MODULES", None)
    odd_modules.DefaultGrows.odd.__defaults__[0].clear()


@pytest.mark.parametrize("make", [*CARRIED, *LOST], ids=lambda make: make.__name__)
def test_the_plain_engine_is_the_loop_that_a_user_writes(make):
    reset()
    right = loop(make, nn.functional.mse_loss)
    reset()
    problem = problem_of(make)
    check(problem)
    fingerprint(problem)
    for _ in range(2):  # a second run begins as the first did
        np.testing.assert_allclose(
            train_plain(problem, Run(Adam(), 0.02, 16, SEED), OPTIONS).curve, right, rtol=1e-6
        )


@pytest.mark.parametrize("make", CARRIED, ids=lambda make: make.__name__)
def test_what_a_stack_carries_is_stacked_and_equals_plain(make):
    problem = problem_of(make, batch_size=8, order="shuffle")
    runs = [Run(AdamW(beta1, weight_decay=0.5), 0.02, 8, SEED) for beta1 in (0.0, 0.5, 0.9)]
    assert why_plain(problem, runs[0], OPTIONS) == ""
    stacked, plain = (
        train_stacked(problem, runs, OPTIONS),
        [train_plain(problem, run, OPTIONS) for run in runs],
    )
    for ours, reference in zip(stacked, plain, strict=True):
        np.testing.assert_allclose(ours.curve, reference.curve, rtol=1e-6)
        assert ours.initial == pytest.approx(reference.initial, rel=1e-12)


@pytest.mark.parametrize("make", LOST, ids=lambda make: make.__name__)
def test_what_a_stack_would_lose_is_trained_plain_with_the_reason(make):
    problem = problem_of(make)
    runs = [Run(Adam(beta2=beta2), 0.02, 16, SEED) for beta2 in (0.9, 0.999)]
    assert make.why
    with pytest.warns(UserWarning, match=f"one run at a time, because .*({make.why})"):
        outcomes = train_stacked(problem, runs, OPTIONS)
    for ours, run in zip(outcomes, runs, strict=True):
        np.testing.assert_array_equal(ours.curve, train_plain(problem, run, OPTIONS).curve)
