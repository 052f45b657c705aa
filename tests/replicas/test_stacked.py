"""The stacked engine against its reference, the plain engine, and against stacks of other runs."""

import numpy as np
import pytest
import torch
from small_modules import (
    Attention,
    Branching,
    Scaled,
    batchnorm,
    convolution,
    dropout,
    mlp,
    normed,
    problem,
)
from torch import nn

from betaplane.errors import BadInput
from betaplane.problems import Problem, counterexample, digits, reddi
from betaplane.replicas import Options, Run, train_plain, train_stacked
from betaplane.replicas.scalar import stacked_outcomes
from betaplane.rules import ALL, SGD, AdaBelief, Adam, AMSGrad

BETAS = [(0.0, 0.9), (0.5, 0.99), (0.9, 0.999), (0.9, 0.95)]
WHOLE = Options(points=10, early_stop=False)


def runs(seed=0, lr=0.01, batch_size=8):
    return [Run(Adam(b1, b2), lr, batch_size, seed) for b1, b2 in BETAS]


def curves(outcomes):
    return np.stack([outcome.curve for outcome in outcomes])


@pytest.mark.parametrize(
    "make", [mlp, batchnorm, convolution, normed, Attention, Scaled], ids=lambda m: m.__name__
)
def test_stacked_equals_plain(make):
    here = problem(make)
    stacked = stacked_outcomes(here, runs(), WHOLE)
    plain = [train_plain(here, run, WHOLE) for run in runs()]
    # curves are stored in float32
    np.testing.assert_allclose(curves(stacked), curves(plain), rtol=1e-6)
    for ours, theirs in zip(stacked, plain, strict=True):
        assert ours.initial == pytest.approx(theirs.initial, rel=1e-12)


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.__name__)
def test_every_rule_stacked_equals_plain(rule):
    varied = {
        SGD: ("momentum", (0.0, 0.5, 0.9)),
        AMSGrad: ("beta2", (0.9, 0.99, 0.999)),
        # at beta1 = 0 it divides by eps alone, and overflows
        AdaBelief: ("beta2", (0.9, 0.99, 0.999)),
    }
    name, values = varied.get(rule, (rule.hyperparameters()[0], (0.0, 0.5, 0.9)))
    many = [Run(rule(**{name: value}), 0.01, 8, 0) for value in values]
    here = problem(mlp)
    plain = [train_plain(here, run, WHOLE) for run in many]
    np.testing.assert_allclose(
        curves(stacked_outcomes(here, many, WHOLE)), curves(plain), rtol=1e-6
    )


@pytest.mark.parametrize("schedule", ["constant", "inverse_sqrt", "warmup_cosine", "warmup_linear"])
def test_schedules_stacked_equal_plain(schedule):
    here = problem(
        mlp, schedule=schedule, warmup=0.0 if schedule in ("constant", "inverse_sqrt") else 0.2
    )
    np.testing.assert_allclose(
        curves(stacked_outcomes(here, runs(), WHOLE)),
        curves([train_plain(here, run, WHOLE) for run in runs()]),
        rtol=1e-6,
    )


@pytest.mark.parametrize("make", [counterexample, reddi], ids=lambda m: m.__name__)
def test_analytic_gradients_projection_and_full_losses_equal_plain(make):
    here = make().with_(steps=200)
    many = [Run(Adam(b1, b2), here.lr, 1, 0) for b1, b2 in BETAS]
    plain = [train_plain(here, run, WHOLE) for run in many]
    np.testing.assert_allclose(
        curves(stacked_outcomes(here, many, WHOLE)), curves(plain), rtol=1e-4, atol=1e-5
    )


def test_a_run_does_not_depend_on_the_other_runs():
    here = problem(mlp)
    together = stacked_outcomes(here, runs(), WHOLE)
    for i, run in enumerate(runs()):
        (alone,) = stacked_outcomes(here, [run], WHOLE)
        np.testing.assert_allclose(alone.curve, together[i].curve, rtol=1e-6)


def test_dropout_masks_depend_only_on_the_seed():
    here = problem(dropout)
    together = curves(stacked_outcomes(here, runs(), WHOLE))
    alone = curves([stacked_outcomes(here, [run], WHOLE)[0] for run in runs()])
    other = curves(stacked_outcomes(here, runs(seed=1), WHOLE))
    np.testing.assert_allclose(alone, together, rtol=1e-6)
    assert not np.allclose(other, together, rtol=1e-3)


def test_diverged_runs_are_dropped_without_an_effect_on_the_others():
    here = problem(mlp, steps=4000)
    converging = runs()
    diverging = [Run(Adam(0.9, 0.999), lr, 8, 0) for lr in (1e200, 1e250, 1e300)]
    mixed = stacked_outcomes(here, [*diverging, *converging], Options(points=20))
    alone = stacked_outcomes(here, converging, Options(points=20))
    np.testing.assert_allclose(curves(mixed[3:]), curves(alone), rtol=1e-6)
    for outcome in mixed[:3]:
        assert outcome.final == float("inf")
        assert not outcome.whole
        assert len(outcome.curve) < 20


def test_independent_runs_have_their_own_order_and_initialization():
    here = problem(mlp)
    own = Options(points=10, early_stop=False, independent=True)
    together = stacked_outcomes(here, runs(), own)
    plain = [train_plain(here, run, own) for run in runs()]
    np.testing.assert_allclose(curves(together), curves(plain), rtol=1e-6)
    assert len({outcome.initial for outcome in together}) == len(together)


def test_the_curve_is_a_function_of_the_seed():
    here = digits().with_(steps=40)
    many = [Run(Adam(), here.lr, 32, 0)]
    first, again = stacked_outcomes(here, many, WHOLE), stacked_outcomes(here, many, WHOLE)
    other = stacked_outcomes(here, [Run(Adam(), here.lr, 32, 1)], WHOLE)
    assert (first[0].curve == again[0].curve).all()
    assert not (first[0].curve == other[0].curve).any()


def test_training_does_not_change_the_global_generator():
    from betaplane.replicas.worker import train

    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    train(problem(dropout), runs(), "stacked", WHOLE)
    train(problem(dropout), runs()[:1], "plain", WHOLE)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_module_that_cannot_be_stacked_is_trained_plain_with_a_warning():
    here = problem(Branching)
    with pytest.raises(BadInput, match=r"cannot be stacked.*train\(settings, seed\)"):
        stacked_outcomes(here, runs(), WHOLE)
    with pytest.warns(UserWarning, match="one run at a time, because torch.func cannot batch it"):
        outcomes = train_stacked(here, runs()[:2], WHOLE)
    np.testing.assert_array_equal(
        curves(outcomes), curves([train_plain(here, run, WHOLE) for run in runs()[:2]])
    )


@pytest.mark.slow
@pytest.mark.parametrize("make", [mlp, batchnorm, Attention], ids=lambda m: m.__name__)
def test_compiled_equals_plain(make):
    here = problem(make)
    compiled = stacked_outcomes(here, runs(), Options(points=10, early_stop=False, compile=True))
    np.testing.assert_allclose(
        curves(compiled), curves([train_plain(here, r, WHOLE) for r in runs()]), rtol=1e-6
    )


@pytest.mark.slow
def test_ten_compiled_steps_equal_ten_steps():
    here = counterexample().with_(steps=200)
    many = [Run(Adam(b1, b2), here.lr, 1, 0) for b1, b2 in BETAS]
    compiled = stacked_outcomes(here, many, Options(points=10, early_stop=False, compile=True))
    np.testing.assert_allclose(
        curves(compiled), curves(stacked_outcomes(here, many, WHOLE)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    "rule", ["laprop:weight_decay=0.3", "adamc:weight_decay=0.3", "adamw:decay=independent"]
)
def test_a_decay_relative_to_the_peak_of_lr_stacked_equals_plain(rule):
    x = torch.randn(64, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    problem = Problem(
        "peak", lambda: nn.Linear(5, 1).double(), nn.functional.mse_loss, x, x[:, :1],
        batch_size=64, steps=40, lr=0.1, schedule="warmup_cosine", warmup=0.2,
    )  # fmt: skip
    runs = [Run(rule, lr, 64, 0) for lr in (0.01, 0.1)]
    options = Options(points=40, early_stop=False)
    plain = [train_plain(problem, run, options).curve for run in runs]
    stacked = [outcome.curve for outcome in stacked_outcomes(problem, runs, options)]
    np.testing.assert_allclose(stacked, plain, rtol=1e-6)
