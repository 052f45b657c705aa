"""Every module is trained as in the user's own loop: stacked if that is proved, else by the plain
engine with a reason.
"""

import random
import threading

import numpy as np
import pytest
import torch
from stackable_modules import STACKABLE
from stateful_modules import STATEFUL, reset
from torch import nn
from untraceable_modules import UNTRACEABLE

from betaplane import Problem
from betaplane.problems import check, fingerprint
from betaplane.replicas import Options, Run, proof, train_plain, train_stacked
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
    name = getattr(make, "__name__", "module")
    own = {"batch_size": 16, "order": "cyclic", "steps": STEPS, "lr": 0.02, **fields}
    return Problem(name, lambda: make().double(), loss, *data(), **own)


def loop(make, loss, rule=torch.optim.Adam, steps=STEPS, **settings):
    """The losses of the loop that a user would write, on all data in order."""
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


@pytest.mark.parametrize(
    "make", [*STACKABLE, *STATEFUL, *UNTRACEABLE], ids=lambda make: make.__name__
)
def test_the_plain_engine_equals_the_users_loop(make):
    reset()
    expected = loop(make, nn.functional.mse_loss)
    reset()
    problem = problem_of(make)
    check(problem)
    fingerprint(problem)
    for _ in range(2):  # the second run starts in the same state as the first
        curve = train_plain(problem, Run(Adam(), 0.02, 16, SEED), OPTIONS).curve
        np.testing.assert_allclose(curve, expected, rtol=1e-6)


@pytest.mark.parametrize("make", STACKABLE, ids=lambda make: make.__name__)
def test_stackable_modules_are_stacked_and_equal_the_plain_engine(make):
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


@pytest.mark.parametrize("make", [*STATEFUL, *UNTRACEABLE], ids=lambda make: make.__name__)
def test_other_modules_are_trained_plain_with_the_reason(make):
    problem = problem_of(make)
    runs = [Run(Adam(beta2=beta2), 0.02, 16, SEED) for beta2 in (0.9, 0.999)]
    assert make.why
    with pytest.warns(UserWarning, match=f"one run at a time, because .*({make.why})"):
        outcomes = train_stacked(problem, runs, OPTIONS)
    for ours, run in zip(outcomes, runs, strict=True):
        np.testing.assert_array_equal(ours.curve, train_plain(problem, run, OPTIONS).curve)


def test_a_draw_of_another_thread_does_not_prevent_stacking(monkeypatch: pytest.MonkeyPatch):
    attempt, reasons = proof._prove_stable, []

    def attempt_while_drawing(*arguments) -> float:
        ended = threading.Event()

        def draw() -> None:
            while not ended.wait(0.0005):
                random.random()

        thread = threading.Thread(target=draw)
        if not reasons:
            thread.start()
        try:
            return attempt(*arguments)
        except proof.NotProved as reason:
            reasons.append(str(reason))
            raise
        finally:
            ended.set()

    monkeypatch.setattr(proof, "_prove_stable", attempt_while_drawing)
    problem = problem_of(STACKABLE[0], batch_size=8)
    assert why_plain(problem, Run(Adam(), 0.02, 8, SEED), OPTIONS) == ""
    assert len(reasons) == 1
    assert "random numbers" in reasons[0]
