"""Every rule on the roll: its page, its laws, its purity, its numbers, and the three ways it is run."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace

import pytest
import rule_nets as nets
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import vmap
from torch.fx.experimental.proxy_tensor import make_fx

import betaplane.rules
from betaplane.errors import BadInput
from betaplane.rules import ALL, NAMES, SGD, Adagrad, Adam, AdamW, AMSGrad, RMSprop, Rule, by_name
from betaplane.rules._parts import ema

VARIANTS = [
    *(kind() for kind in ALL),
    SGD(momentum=0.9, dampening=0.3, weight_decay=0.1),
    SGD(momentum=0.9, nesterov=True, weight_decay=0.1),
    Adagrad(lr_decay=0.1, initial_accumulator=0.5, weight_decay=0.1),
    RMSprop(momentum=0.9, centered=True, weight_decay=0.1),
    RMSprop(alpha=0.9, eps_inside=True),
    Adam(beta1=0.5, beta2=0.9, eps=0.01, weight_decay=0.1),
    Adam(beta1=0.0, beta2=0.0),
    AdamW(beta2=0.95, weight_decay=0.3),
    AMSGrad(beta2=0.9, weight_decay=0.1),
    AMSGrad(beta2=0.9, correction="before"),
    AMSGrad(beta2=0.9, debias="none"),
]
each = pytest.mark.parametrize("kind", ALL, ids=NAMES)
every = pytest.mark.parametrize("rule", VARIANTS, ids=str)


# ---- the page


@each
def test_page(kind: type[Rule]) -> None:
    doc = inspect.getdoc(kind) or ""
    assert "Source: " in doc
    assert ">>> " in doc
    assert "```" in doc
    assert kind.source
    assert "laws" in vars(kind)
    numbers = {field.name for field in fields(kind) if field.type in ("float", float)}
    assert set(kind.ranges) == numbers >= set(kind.hyperparameters())
    assert set(kind.choices) == {field.name for field in fields(kind)} - numbers


@each
def test_usual_values_are_in_range(kind: type[Rule]) -> None:
    for name, allowed in kind.ranges.items():
        kind(**{name: allowed.usual})  # type: ignore[arg-type]


def test_roll() -> None:
    assert NAMES == ("sgd", "adagrad", "rmsprop", "adam", "adamw", "amsgrad")
    assert [by_name(name) for name in NAMES] == list(ALL)
    public = {name for name in vars(betaplane.rules) if not name.startswith("_")}
    modules = {name for name in public if inspect.ismodule(getattr(betaplane.rules, name))}
    assert set(betaplane.rules.__all__) == public - modules - {"BadInput"}


# ---- laws


@each
def test_laws(kind: type[Rule]) -> None:
    assert nets.broken_laws(kind()) == []


@each
def test_bound(kind: type[Rule]) -> None:
    assert nets.broken_bound(kind()) == []


gradients = st.lists(
    st.lists(st.floats(-100, 100).filter(lambda g: abs(g) > 1e-3), min_size=3, max_size=3), min_size=2, max_size=5
)


@each
@settings(max_examples=15, deadline=None, derandomize=True)
@given(gradients=gradients)
def test_symmetries_at_any_gradient(kind: type[Rule], gradients: list[list[float]]) -> None:
    x, g = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), torch.tensor(gradients, dtype=torch.float64)
    rule = kind()
    assert nets.odd(rule, x, g)
    assert nets.permutes(rule, x, g)
    assert not rule.laws.scale_free or nets.scale_free(rule, x, g)


@every
def test_options_keep_the_symmetries(rule: Rule) -> None:
    x, g = nets.sample(5, seed=1), nets.sample(12, 5, seed=2)
    assert nets.odd(rule, x, g)
    assert nets.permutes(rule, x, g)
    assert nets.rests(rule, x, g)


# ---- purity


@every
def test_purity(rule: Rule) -> None:
    assert nets.impurities(rule) == []


# ---- reference

GOLDEN = [
    (SGD, "sgd"),
    (SGD, "sgd_l2"),
    (SGD, "sgd_momentum"),
    (SGD, "sgd_momentum_dampening"),
    (Adagrad, "adagrad"),
    (RMSprop, "rmsprop"),
    (RMSprop, "rmsprop_centered_momentum"),
    (RMSprop, "rmsprop_eps_inside"),
    (Adam, "adam"),
    (Adam, "adam_l2"),
    (Adam, "adam_large_eps"),
    (Adam, "adam_first_step"),
    (AdamW, "adamw"),
    (AMSGrad, "amsgrad"),
]


@pytest.mark.parametrize(("kind", "name"), GOLDEN)
def test_golden(kind: type[Rule], name: str) -> None:
    assert nets.golden_misses(kind, name) == []


def test_golden_average() -> None:
    """Momentum as an average, which no rule here uses, is the shared piece `ema`."""
    record = nets.golden("sgd_ema_momentum")
    x, m = torch.tensor(record["params0"], dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for step in record["steps"]:
        m = ema(m, torch.tensor(step["grad"], dtype=torch.float64), record["hyperparameters"]["beta1"])
        x = x - record["hyperparameters"]["lr"] * m
        assert nets.same(x, torch.tensor(step["params"], dtype=torch.float64), 1e-12)


def test_every_golden_file_is_used() -> None:
    assert {path.stem for path in nets.GOLDEN.glob("*.json")} >= {name for _, name in GOLDEN} | {"sgd_ema_momentum"}


TORCH = [
    (SGD(), torch.optim.SGD, {}),
    (SGD(dampening=0.5), torch.optim.SGD, {"dampening": 0.5}),
    (
        SGD(momentum=0.9, dampening=0.3, weight_decay=0.1),
        torch.optim.SGD,
        {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
    ),
    (
        SGD(momentum=0.9, nesterov=True, weight_decay=0.1),
        torch.optim.SGD,
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ),
    (
        Adagrad(lr_decay=0.1, initial_accumulator=0.5, weight_decay=0.1),
        torch.optim.Adagrad,
        {"lr_decay": 0.1, "initial_accumulator_value": 0.5, "weight_decay": 0.1},
    ),
    (
        RMSprop(alpha=0.9, momentum=0.9, centered=True, weight_decay=0.1),
        torch.optim.RMSprop,
        {"alpha": 0.9, "momentum": 0.9, "centered": True, "weight_decay": 0.1},
    ),
    (RMSprop(), torch.optim.RMSprop, {}),
    (Adam(0.8, 0.95, weight_decay=0.1), torch.optim.Adam, {"betas": (0.8, 0.95), "weight_decay": 0.1}),
    (AdamW(), torch.optim.AdamW, {}),
    (AdamW(weight_decay=0.3), torch.optim.AdamW, {"weight_decay": 0.3}),
    (
        AMSGrad(0.8, 0.9, weight_decay=0.1),
        torch.optim.Adam,
        {"betas": (0.8, 0.9), "weight_decay": 0.1, "amsgrad": True},
    ),
]


@pytest.mark.parametrize(
    ("rule", "optimizer", "kwargs"), TORCH, ids=lambda value: str(value) if isinstance(value, Rule) else ""
)
def test_torch(rule: Rule, optimizer: type[torch.optim.Optimizer], kwargs: dict) -> None:
    assert nets.torch_misses(rule, optimizer, **kwargs) == []


def test_amsgrad_dialects() -> None:
    """Two steps on one number, worked out by hand: g = 1, then g = 0, at beta1 = 0.5 and beta2 = 0.5."""
    x, g = torch.zeros(1, dtype=torch.float64), torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    dialects = {"after": {"correction": "after"}, "before": {"correction": "before"}, "none": {"debias": "none"}}
    steps = {
        name: nets.run(AMSGrad(0.5, 0.5, eps=0.0, **dialect), x, g, 1.0).diff(dim=0).squeeze().tolist()
        for name, dialect in dialects.items()
    }
    # m = 1/2, 1/4; v_max = 1/2, 1/2 (before: 1, 1); 1 - beta^t = 1/2, 3/4
    assert steps["after"] == pytest.approx([-1.0, -(1 / 3) / (2 / 3) ** 0.5], abs=1e-12)
    assert steps["before"] == pytest.approx([-1.0, -1 / 3], abs=1e-12)
    assert steps["none"] == pytest.approx([-(0.5**0.5), -0.25 * 2**0.5], abs=1e-12)


def test_centered_variance_has_a_floor() -> None:
    """At a constant gradient v - g_bar^2 falls to zero, and rounding takes it below."""
    rule = RMSprop(alpha=0.5, centered=True)
    path = nets.run(rule, torch.zeros(64), torch.linspace(0.1, 3.0, 64).expand(80, 64), 1e-9)
    assert bool(torch.isfinite(path).all())


# ---- three ways to run a rule


@every
def test_vmap_over_runs_that_differ_in_their_hyperparameters(rule: Rule) -> None:
    """One batched step is each run's own step; float32 stays float32 under float64 hyperparameters."""
    runs, names = 4, rule.hyperparameters()
    spread = torch.tensor([0.0, 0.5, 1.0, 0.9], dtype=torch.float64)
    hyper = {name: getattr(rule, name) * (spread + 0.5 if name == "eps" else spread) for name in names}
    lr = torch.tensor([0.1, 0.01, 0.0, 1.0], dtype=torch.float64)
    x, gradients = nets.sample(runs, 3, seed=7).float(), nets.sample(6, runs, 3, seed=8).float()

    def batched(x, g, s, lr, hyper):
        return replace(rule, **hyper).step(x, g, s, lr)

    many = vmap(lambda x, hyper: replace(rule, **hyper).init(x))(x, hyper)
    alone = [replace(rule, **{k: float(v[i]) for k, v in hyper.items()}) for i in range(runs)]
    ones = [(x[i], alone[i].init(x[i])) for i in range(runs)]
    for g in gradients:
        x, many = vmap(batched)(x, g, many, lr, hyper)
        ones = [alone[i].step(one, g[i], s, float(lr[i])) for i, (one, s) in enumerate(ones)]
        assert x.dtype == torch.float32
        assert all(value.dtype == torch.float32 for name, value in zip(many._fields, many, strict=True) if name != "t")
        assert torch.allclose(x, torch.stack([one for one, _ in ones]), rtol=2e-5, atol=1e-6, equal_nan=True)


@every
def test_trace_bakes_nothing_in(rule: Rule) -> None:
    """A step traced at the first step is the step at any later one."""
    x, gradients = nets.sample(5, seed=9), nets.sample(4, 5, seed=10)
    lr = torch.tensor(0.1, dtype=torch.float64)
    s = rule.init(x)
    traced = make_fx(lambda x, g, s, lr: rule.step(x, g, s, lr))(x, gradients[0], s, lr)
    for g in gradients:
        ours, theirs = rule.step(x, g, s, lr), traced(x, g, s, lr)
        assert torch.equal(ours[0], theirs[0])
        assert all(torch.equal(a, b) for a, b in zip(ours[1], theirs[1], strict=True))
        x, s = ours


# ---- bad input

BAD = [
    (lambda: Adam(beta2=1.5), "beta2 is out of range: got 1.5, allowed [0, 1), in Adam. Write instead: beta2=0.999"),
    (lambda: Adam(beta1=1.0), "beta1 is out of range: got 1.0, allowed [0, 1), in Adam. Write instead: beta1=0.9"),
    (lambda: Adam(beta1=-0.1), "beta1 is out of range: got -0.1"),
    (lambda: AdamW(eps=-1), "eps is out of range: got -1, allowed [0, inf), in AdamW. Write instead: eps=1e-08"),
    (lambda: AdamW(eps=float("nan")), "eps is out of range: got nan"),
    (lambda: AdamW(weight_decay=float("inf")), "weight_decay is out of range: got inf"),
    (lambda: SGD(momentum=1.0), "momentum is out of range: got 1.0, allowed [0, 1)"),
    (lambda: SGD(dampening=1.5), "dampening is out of range: got 1.5, allowed [0, 1]"),
    (lambda: SGD(momentum=0.9, dampening=0.1, nesterov=True), "nesterov needs zero dampening: got 0.1, allowed 0"),
    (lambda: SGD(nesterov="yes"), "nesterov is unknown: got 'yes', allowed False or True, in SGD"),  # type: ignore[arg-type]
    (lambda: Adagrad(initial_accumulator=-0.1), "initial_accumulator is out of range: got -0.1"),
    (lambda: RMSprop(alpha="0.9"), "alpha is not a number: got '0.9', allowed a number in [0, 1), in RMSprop"),  # type: ignore[arg-type]
    (lambda: AMSGrad(correction="optax"), "correction is unknown: got 'optax', allowed 'after' or 'before'"),  # type: ignore[arg-type]
    (
        lambda: by_name("adamww"),
        "The rule is unknown: got 'adamww', allowed sgd, adagrad, rmsprop, adam, adamw, amsgrad",
    ),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    with pytest.raises(BadInput) as told:
        call()
    assert text in str(told.value)
