"""Every rule of the registry: documentation, laws, purity, reference numbers, execution."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace
from pathlib import Path

import pytest
import rule_checks as checks
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import vmap
from torch.fx.experimental.proxy_tensor import make_fx

import betaplane.rules
from betaplane.errors import BadInput
from betaplane.rules import (
    ADOPT,
    ALL,
    NAMES,
    SGD,
    AdaBelief,
    Adafactor,
    Adagrad,
    Adam,
    AdamAtan2,
    Adamax,
    AdamC,
    AdamD,
    AdamMini,
    AdamW,
    Adan,
    AdEMAMix,
    AMSGrad,
    CautiousAdamW,
    LaProp,
    Lion,
    NAdam,
    RAdam,
    RMSprop,
    Rule,
    Sophia,
    StableAdamW,
    Yogi,
    by_name,
)
from betaplane.rules._math import ema, rectification

VARIANTS = [
    *(kind() for kind in ALL),
    SGD(momentum=0.9, dampening=0.3, weight_decay=0.1),
    SGD(momentum=0.9, nesterov=True, weight_decay=0.1),
    Adagrad(lr_decay=0.1, initial_accumulator=0.5, weight_decay=0.1),
    RMSprop(momentum=0.9, centered=True, weight_decay=0.1),
    RMSprop(alpha=0.9, eps_inside=True),
    RMSprop(momentum=1.0, centered=True, initial_accumulator=1.0),
    SGD(momentum=1.0, dampening=1.5),
    Adagrad(eps_inside=True, eps=1e-3, initial_accumulator=0.1),
    Adam(beta1=0.5, beta2=0.9, eps=0.01, weight_decay=0.1),
    Adam(beta1=0.0, beta2=0.0),
    AdamW(beta2=0.95, weight_decay=0.3),
    AMSGrad(beta2=0.9, weight_decay=0.1),
    AMSGrad(beta2=0.9, correction="before"),
    AMSGrad(beta2=0.9, debias="none"),
    CautiousAdamW(cautious="paper", eps_at="hat", eps=1e-6),
    AdamC(beta2=0.95, weight_decay=0.3, peak_lr=0.1),
    AdamC(normalized=False, weight_decay=0.3, decay="independent"),
    ADOPT(beta2=0.9, weight_decay=0.1, eps=0.1),
    ADOPT(limit="t", growth=0.333, decay="decoupled", weight_decay=0.1),
    ADOPT(limit="none", cautious="mean", clip=1.0),
    Yogi(beta2=0.9, activation="tanh", weight_decay=0.1),
    Yogi(initial_accumulator=0.0, debias="none"),
    AdaBelief(rectify=True, beta2=0.99, weight_decay=0.1),
    AdaBelief(eps=1e-8, eps_at="hat"),
    Adan(weight_decay=0.1),
    Adan(proximal=False, difference="new", weight_decay=0.1),
    Adan(decay="l2", weight_decay=0.1, debias="schedule"),
    Lion(beta1=0.95, beta2=0.98, weight_decay=0.1),
    Lion(cautious="mean", decay="independent", weight_decay=0.1),
    Sophia(debias="first", floor="sum", weight_decay=0.1),
    Sophia(gamma=0.05, clip=0.5, decay="l2"),
    AdamMini(blocks="tensor", weight_decay=0.1),
    AdamMini(blocks="element", beta2=0.95, debias="schedule"),
    AdEMAMix(warmup=4.0, weight_decay=0.1),
    AdEMAMix(beta1=0.0, beta3=0.99, alpha=2.0, warmup=10.0, eps_at="hat"),
    Adafactor(momentum=True, weight_decay=0.1),
    Adafactor(rate="warmup", decay_rate="alpha", weight_decay=0.1, cautious="paper"),
    Adafactor(rate="scaled", floor="root", eps1=1e-10, clip=float("inf")),
    Adafactor(rate="constant", power=0.5, momentum=True, cautious="mean"),
    StableAdamW(limits="update", debias="both", d=0.5),
    StableAdamW(eps=0.01, weight_decay=0.3, decay="l2"),
    StableAdamW(eps_at="root", decay="independent", d=float("inf")),
    Adamax(beta2=0.9, eps_at="after", weight_decay=0.1),
    Adamax(cautious="mean", decay="independent", weight_decay=0.1),
    NAdam(beta2=0.95, momentum_decay=0.5, weight_decay=0.1),
    NAdam(momentum="constant", debias="schedule"),
    NAdam(momentum="single", debias="second", decay="decoupled", weight_decay=0.1),
    RAdam(beta2=0.9, weight_decay=0.1),
    RAdam(threshold=">4", before="nothing", decay="decoupled", weight_decay=0.1, eps_at="after"),
    RAdam(threshold=">=5", debias="schedule", clip=1.0),
    AdamD(beta2=0.95, weight_decay=0.1, eps_at="after"),
    LaProp(beta2=0.9, eps=0.01, weight_decay=0.1),
    LaProp(lr_at="average", debias="schedule", decay="l2", weight_decay=0.1),
    LaProp(lr_at="average", debias="second", cautious="mean"),
    AdamAtan2(a=16.0, b=16.0, weight_decay=0.1),
    AdamAtan2(a=1.0, correction="outside", cautious="paper"),
]
each = pytest.mark.parametrize("kind", ALL, ids=NAMES)
every = pytest.mark.parametrize("rule", VARIANTS, ids=str)


# ---- the page


@each
def test_rule_has_documentation_and_complete_tables(kind: type[Rule]) -> None:
    doc = inspect.getdoc(kind) or ""
    assert "Source: " in doc
    assert ">>> " in doc
    assert "```" in doc
    assert kind.source
    assert "laws" in vars(kind)
    numbers = {
        field.name for field in fields(kind) if field.type in ("float", float, "float | None")
    }
    assert set(kind.ranges) == numbers >= set(kind.hyperparameters())
    assert set(kind.choices) == {field.name for field in fields(kind)} - numbers


@each
def test_example_values_are_valid(kind: type[Rule]) -> None:
    for name, allowed in kind.ranges.items():
        kind(**{name: allowed.example})  # type: ignore[arg-type]


def test_registry_lists_every_file_of_rules() -> None:
    files = {path.stem for path in Path(betaplane.rules.__file__).parent.glob("[a-z]*.py")}
    assert set(NAMES) == files
    assert len(NAMES) == len(files) >= 24
    assert NAMES[:5] == ("sgd", "adagrad", "rmsprop", "adam", "adamw")
    assert [by_name(name) for name in NAMES] == list(ALL)
    public = {name for name in vars(betaplane.rules) if not name.startswith("_")}
    modules = {name for name in public if inspect.ismodule(getattr(betaplane.rules, name))}
    assert set(betaplane.rules.__all__) == public - modules - {"explain_calls", "unknown"}


# ---- laws


@each
def test_laws_hold(kind: type[Rule]) -> None:
    assert checks.broken_laws(kind()) == []


@each
def test_step_bound_is_tight(kind: type[Rule]) -> None:
    assert checks.broken_bound(kind()) == []


gradients = st.lists(
    st.lists(st.floats(-100, 100).filter(lambda g: abs(g) > 1e-3), min_size=3, max_size=3),
    min_size=2,
    max_size=5,
)


@each
@settings(max_examples=15, deadline=None, derandomize=True)
@given(gradients=gradients)
def test_symmetries_at_any_gradient(kind: type[Rule], gradients: list[list[float]]) -> None:
    x, g = (
        torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64),
        torch.tensor(gradients, dtype=torch.float64),
    )
    rule = kind()
    assert checks.odd(rule, x, g)
    assert checks.permutes(rule, x, g)
    assert not rule.laws.scale_free or checks.scale_free(rule, x, g)


@every
def test_options_keep_the_symmetries(rule: Rule) -> None:
    x, g = checks.sample(5, seed=1), checks.sample(12, 5, seed=2)
    assert checks.odd(rule, x, g)
    assert checks.permutes(rule, x, g)
    assert checks.rests(rule, x, g)


# ---- purity


@every
def test_step_changes_no_argument(rule: Rule) -> None:
    assert checks.impurities(rule) == []


# ---- reference

GOLDEN = [
    (SGD, "sgd"),
    (SGD, "sgd_l2"),
    (SGD, "sgd_momentum"),
    (SGD, "sgd_momentum_dampening"),
    (Adagrad, "adagrad"),
    (Adagrad, "adagrad_eps_inside"),
    (RMSprop, "rmsprop"),
    (RMSprop, "rmsprop_centered_momentum"),
    (RMSprop, "rmsprop_eps_inside"),
    (RMSprop, "rmsprop_tensorflow"),
    (Adam, "adam"),
    (Adam, "adam_l2"),
    (Adam, "adam_large_eps"),
    (Adam, "adam_first_step"),
    (AdamW, "adamw"),
    (AMSGrad, "amsgrad"),
    (CautiousAdamW, "cautious_adamw"),
    (CautiousAdamW, "cautious_adamw_timm"),
    (ADOPT, "adopt_unclipped"),
    (ADOPT, "adopt_large_eps"),
    (Yogi, "yogi"),
    (AdaBelief, "adabelief_large_eps"),
    (Adan, "adan"),
    (Lion, "lion"),
    (Sophia, "sophia_g"),
    (AdamMini, "adam_mini_rows"),
    (AdEMAMix, "ademamix"),
    (AdEMAMix, "ademamix_scheduled"),
    (Adafactor, "adafactor_matrix"),
    (Adafactor, "adafactor_matrix_zero_init"),
    (Adafactor, "adafactor_vector"),
    (StableAdamW, "stableadamw_timm"),
    (Adam, "adam_eps_root"),
    (Adamax, "adamax"),
    (NAdam, "nadam_constant_beta1"),
    (NAdam, "nadam_mlcommons"),
    (RAdam, "radam_eps_corrected"),
    (LaProp, "laprop_constant_lr"),
    (LaProp, "laprop_large_eps"),
    (AdamAtan2, "adam_atan2"),
    (AdamAtan2, "adam_atan2_a1_b1"),
]


@pytest.mark.parametrize(("kind", "name"), GOLDEN)
def test_golden_numbers_are_reproduced(kind: type[Rule], name: str) -> None:
    assert checks.golden_misses(kind, name) == []


def test_golden_average_is_ema() -> None:
    """Momentum as an average, which no rule here uses, is the shared piece `ema`."""
    record = checks.golden("sgd_ema_momentum")
    x, m = torch.tensor(record["params0"], dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for step in record["steps"]:
        m = ema(
            m, torch.tensor(step["grad"], dtype=torch.float64), record["hyperparameters"]["beta1"]
        )
        x = x - record["hyperparameters"]["lr"] * m
        assert checks.same(x, torch.tensor(step["params"], dtype=torch.float64), 1e-12)


def test_every_golden_file_is_used() -> None:
    assert {path.stem for path in checks.GOLDEN.glob("*.json")} >= {name for _, name in GOLDEN} | {
        "sgd_ema_momentum"
    }


EPS64 = torch.finfo(torch.float64).eps
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
    (
        Adam(0.8, 0.95, weight_decay=0.1),
        torch.optim.Adam,
        {"betas": (0.8, 0.95), "weight_decay": 0.1},
    ),
    (AdamW(), torch.optim.AdamW, {}),
    (AdamW(weight_decay=0.3), torch.optim.AdamW, {"weight_decay": 0.3}),
    (
        AMSGrad(0.8, 0.9, weight_decay=0.1),
        torch.optim.Adam,
        {"betas": (0.8, 0.9), "weight_decay": 0.1, "amsgrad": True},
    ),
    (Adafactor(floor="root", eps1=EPS64), torch.optim.Adafactor, {}),
    (Adafactor(floor="root", eps1=EPS64), torch.optim.Adafactor, {"shape": (3, 4)}),
    (
        Adafactor(floor="root", eps1=0.3),
        torch.optim.Adafactor,
        {"shape": (3, 4), "eps": (0.3, 1e-3)},
    ),
    (
        Adafactor(power=0.6, eps1=EPS64, eps2=2.0, weight_decay=0.1, floor="root", clip=1.2),
        torch.optim.Adafactor,
        {
            "shape": (2, 3, 4),
            "beta2_decay": -0.6,
            "eps": (None, 2.0),
            "weight_decay": 0.1,
            "d": 1.2,
        },
    ),
    (Adamax(), torch.optim.Adamax, {}),
    (
        Adamax(0.8, 0.9, eps=0.1, weight_decay=0.1),
        torch.optim.Adamax,
        {"betas": (0.8, 0.9), "eps": 0.1, "weight_decay": 0.1},
    ),
    (RAdam(), torch.optim.RAdam, {}),
    (
        RAdam(0.8, 0.95, eps=0.1, weight_decay=0.1),
        torch.optim.RAdam,
        {"betas": (0.8, 0.95), "eps": 0.1, "weight_decay": 0.1},
    ),
    (
        RAdam(weight_decay=0.1, decay="decoupled"),
        torch.optim.RAdam,
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
    ),
]


@pytest.mark.parametrize(
    ("rule", "optimizer", "kwargs"),
    TORCH,
    ids=lambda value: str(value) if isinstance(value, Rule) else "",
)
def test_rule_agrees_with_torch(
    rule: Rule, optimizer: type[torch.optim.Optimizer], kwargs: dict
) -> None:
    assert checks.torch_misses(rule, optimizer, **kwargs) == []


NADAM = [
    (NAdam(), {}),
    (
        NAdam(0.8, 0.95, eps=0.1, weight_decay=0.1, momentum_decay=0.5),
        {"betas": (0.8, 0.95), "eps": 0.1, "weight_decay": 0.1, "momentum_decay": 0.5},
    ),
    (
        NAdam(weight_decay=0.1, decay="decoupled"),
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
    ),
]


@pytest.mark.parametrize(
    ("rule", "kwargs"), NADAM, ids=lambda value: str(value) if isinstance(value, Rule) else ""
)
def test_nadam_agrees_with_torch(rule: Rule, kwargs: dict) -> None:
    """Torch has the product of the momenta in its default dtype, whatever the parameter's."""
    torch.set_default_dtype(torch.float64)
    try:
        assert checks.torch_misses(rule, torch.optim.NAdam, **kwargs) == []
    finally:
        torch.set_default_dtype(torch.float32)


def test_amsgrad_variants_agree_with_hand_computation() -> None:
    """Two steps on one number, worked out by hand: g = 1, then g = 0, at beta1 = 0.5 and beta2 =
    0.5.
    """
    x, g = torch.zeros(1, dtype=torch.float64), torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    dialects = {
        "after": {"correction": "after"},
        "before": {"correction": "before"},
        "none": {"debias": "none"},
    }
    steps = {
        name: checks.run(AMSGrad(0.5, 0.5, eps=0.0, **dialect), x, g, 1.0)
        .diff(dim=0)
        .squeeze()
        .tolist()
        for name, dialect in dialects.items()
    }
    # m = 1/2, 1/4; v_max = 1/2, 1/2 (before: 1, 1); 1 - beta^t = 1/2, 3/4
    assert steps["after"] == pytest.approx([-1.0, -(1 / 3) / (2 / 3) ** 0.5], abs=1e-12)
    assert steps["before"] == pytest.approx([-1.0, -1 / 3], abs=1e-12)
    assert steps["none"] == pytest.approx([-(0.5**0.5), -0.25 * 2**0.5], abs=1e-12)


def test_debiasing_is_a_schedule_of_beta() -> None:
    """Adam(debias="schedule") has Adam's m_hat and v_hat as its averages: the golden betas, and
    Adam's own steps.
    """
    for row in checks.golden("bias_correction_as_schedule")["beta_hat"]:
        t, zero, one = torch.tensor(row["t"], dtype=torch.float64), torch.zeros(1), torch.ones(1)
        kept = Adam(debias="schedule").moment(one.double(), zero.double(), row["beta"], t)
        assert kept.item() == pytest.approx(row["beta_hat"], abs=1e-12)
    x, gradients = checks.sample(5, seed=1), checks.sample(40, 5, seed=2)
    ours, adams = (
        checks.run(Adam(debias=debias), x, gradients, 0.01) for debias in ("schedule", "both")
    )
    assert torch.allclose(ours, adams, rtol=0, atol=1e-13)


def test_nadam_constant_momentum_is_the_limit_of_the_schedule() -> None:
    x, gradients = checks.sample(5, seed=1), checks.sample(40, 5, seed=2)
    late, constant = (
        checks.run(rule, x, gradients, 0.01)
        for rule in (NAdam(momentum_decay=1e6), NAdam(momentum="constant"))
    )
    assert torch.allclose(late, constant, rtol=0, atol=1e-13)


@pytest.mark.parametrize("momentum", ["scheduled", "constant", "single"])
def test_nadam_debiased_by_schedule(momentum: str) -> None:
    x, gradients = checks.sample(5, seed=1), checks.sample(40, 5, seed=2)
    ours, plain = (
        checks.run(NAdam(momentum=momentum, debias=debias), x, gradients, 0.01)  # type: ignore[arg-type]
        for debias in ("schedule", "both")
    )
    assert torch.allclose(ours, plain, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_radam_warmup(dtype: torch.dtype) -> None:
    for row in checks.golden("warmup")["rows"]:
        rho, r = rectification(row["beta2"], torch.tensor(row["t"], dtype=dtype))
        assert rho.item() == pytest.approx(row["rho_t"], rel=1e-11)
        assert r.dtype == dtype
        if row["radam_r"] is not None:
            assert r.item() == pytest.approx(
                row["radam_r"], rel=1e-11 if dtype == torch.float64 else 1e-6
            )


@pytest.mark.parametrize("beta2", [0.9, 0.999, 0.9999])
@pytest.mark.parametrize(("threshold", "first"), [(">5", 6), (">=5", 6), (">4", 5)])
def test_radam_thresholds(threshold: str, first: int, beta2: float) -> None:
    """In 32 bits too: rho is then off by more than its distance from the threshold, if computed in
    them.
    """
    rule = RAdam(
        beta2=beta2, threshold=threshold, before="nothing", decay="decoupled", weight_decay=0.1
    )  # type: ignore[arg-type]
    steps = checks.run(rule, torch.ones(3), torch.ones(8, 3), 0.01).diff(dim=0)
    assert [bool((step != 0).all()) for step in steps] == [t >= first for t in range(1, 9)]
    assert checks.scale_free(
        replace(rule, weight_decay=0.0), checks.sample(5, seed=1), checks.sample(12, 5, seed=2)
    )


def test_adamd_is_adam_with_a_warmup() -> None:
    x, gradients = checks.sample(5, seed=1), checks.sample(30, 5, seed=2)
    adamd, adam, s, r = (
        AdamD(beta1=0.8),
        Adam(beta1=0.8, eps_at="hat"),
        AdamD().init(x),
        Adam().init(x),
    )
    y = x
    for t, g in enumerate(gradients, 1):
        x, s = adamd.step(x, g, s, 0.01)
        y, r = adam.step(y, g, r, 0.01 * (1 - 0.8**t))
        assert torch.allclose(x, y, rtol=0, atol=1e-13)


@pytest.mark.parametrize("debias", ["both", "schedule"])
def test_laprop_with_averaged_lr_equals_laprop_at_constant_lr(debias: str) -> None:
    """A constant lr makes no difference; an lr of 0 takes no step, at first or later."""
    x, gradients = checks.sample(5, seed=1), checks.sample(30, 5, seed=2)
    step, average = LaProp(debias=debias), LaProp(debias=debias, lr_at="average")  # type: ignore[arg-type]
    assert torch.allclose(
        checks.run(step, x, gradients, 0.01),
        checks.run(average, x, gradients, 0.01),
        rtol=0,
        atol=1e-13,
    )
    x0, s = average.step(x, gradients[0], average.init(x), 0.0)
    assert torch.equal(x0, x)
    x1, s = average.step(x0, gradients[1], s, 0.1)
    assert not torch.equal(x1, x0)
    assert torch.equal(average.step(x1, gradients[2], s, 0.0)[0], x1)


def test_atan2_corrections_agree_with_hand_computation() -> None:
    """The first step at a = b = 1, by hand: atan(1), or 10 atan(0.1)."""
    x, g = torch.zeros(1, dtype=torch.float64), torch.tensor([[3.0]], dtype=torch.float64)
    sizes = [
        -checks.run(AdamAtan2(a=1.0, correction=where), x, g, 1.0)[-1].item()  # type: ignore[arg-type]
        for where in ("inside", "outside")
    ]
    assert sizes == pytest.approx([0.7853981633974483, 0.9966865249116202], abs=1e-13)


def test_atan2_at_large_a_and_b_is_adam() -> None:
    x, gradients = checks.sample(5, seed=1), checks.sample(30, 5, seed=2)
    wide, adam = (
        checks.run(rule, x, gradients, 0.01) for rule in (AdamAtan2(a=1e5, b=1e5), Adam(eps=0.0))
    )
    assert torch.allclose(wide, adam, rtol=0, atol=1e-9)


def test_centered_variance_has_a_floor() -> None:
    """At a constant gradient v - g_bar^2 falls to zero, and rounding takes it below."""
    rule = RMSprop(alpha=0.5, centered=True)
    path = checks.run(rule, torch.zeros(64), torch.linspace(0.1, 3.0, 64).expand(80, 64), 1e-9)
    assert bool(torch.isfinite(path).all())


# ---- three ways to run a rule


@every
def test_vmap_over_runs_that_differ_in_their_hyperparameters(rule: Rule) -> None:
    """One batched step is each run's own step; float32 stays float32 under float64 hyperparameters."""
    runs, names = 4, rule.hyperparameters()
    spread = torch.tensor([0.0, 0.5, 1.0, 0.9], dtype=torch.float64)
    hyper = {
        name: getattr(rule, name) * (spread + 0.5 if name == "eps" else spread) for name in names
    }
    lr = torch.tensor([0.1, 0.01, 0.0, 1.0], dtype=torch.float64)
    x, gradients = checks.sample(runs, 3, seed=7).float(), checks.sample(6, runs, 3, seed=8).float()

    def batched(x, g, s, lr, hyper):
        return replace(rule, **hyper).step(x, g, s, lr)

    many = vmap(lambda x, hyper: replace(rule, **hyper).init(x))(x, hyper)
    alone = [replace(rule, **{k: float(v[i]) for k, v in hyper.items()}) for i in range(runs)]
    ones = [(x[i], alone[i].init(x[i])) for i in range(runs)]
    for g in gradients:
        x, many = vmap(batched)(x, g, many, lr, hyper)
        ones = [alone[i].step(one, g[i], s, float(lr[i])) for i, (one, s) in enumerate(ones)]
        assert x.dtype == torch.float32
        assert all(
            value.dtype == torch.float32
            for name, value in zip(many._fields, many, strict=True)
            if name != "t"
        )
        assert torch.allclose(
            x, torch.stack([one for one, _ in ones]), rtol=2e-5, atol=1e-6, equal_nan=True
        )


@every
def test_trace_bakes_nothing_in(rule: Rule) -> None:
    """A step traced at the first step is the step at any later one."""
    x, gradients = checks.sample(5, seed=9), checks.sample(4, 5, seed=10)
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
    (
        lambda: Adam(beta2=1.5),
        "beta2 is out of range: got 1.5; expected [0, 1) (Adam). Try: beta2=0.999",
    ),
    (
        lambda: Adam(beta1=1.0),
        "beta1 is out of range: got 1.0; expected [0, 1) (Adam). Try: beta1=0.9",
    ),
    (lambda: Adam(beta1=-0.1), "beta1 is out of range: got -0.1"),
    (
        lambda: AdamW(eps=-1),
        "eps is out of range: got -1; expected [0, inf) (AdamW). Try: eps=1e-08",
    ),
    (lambda: AdamW(eps=float("nan")), "eps is out of range: got nan"),
    (lambda: AdamW(weight_decay=float("inf")), "weight_decay is out of range: got inf"),
    (lambda: SGD(momentum=-0.1), "momentum is out of range: got -0.1; expected [0, inf) (SGD"),
    (
        lambda: SGD(dampening=float("nan")),
        "dampening is out of range: got nan; expected (-inf, inf) (SGD",
    ),
    (
        lambda: RMSprop(momentum=-0.1),
        "momentum is out of range: got -0.1; expected [0, inf) (RMSprop",
    ),
    (
        lambda: RMSprop(initial_accumulator=-1.0),
        "initial_accumulator is out of range: got -1.0; expected [0, inf)",
    ),
    (
        lambda: Adagrad(eps_inside="yes"),
        "Unknown eps_inside 'yes'. Choose one of: False, True (Adagrad",
    ),  # type: ignore[arg-type]
    (
        lambda: SGD(momentum=0.9, dampening=0.1, nesterov=True),
        "nesterov needs zero dampening: got 0.1; expected 0",
    ),
    (lambda: SGD(nesterov="yes"), "Unknown nesterov 'yes'. Choose one of: False, True (SGD"),  # type: ignore[arg-type]
    (lambda: Adagrad(initial_accumulator=-0.1), "initial_accumulator is out of range: got -0.1"),
    (
        lambda: RMSprop(alpha="0.9"),
        "alpha is not a number: got '0.9'; expected a number in [0, inf) (RMSprop",
    ),  # type: ignore[arg-type]
    (
        lambda: AMSGrad(correction="optax"),
        "Unknown correction 'optax'. Choose one of: after, before",
    ),  # type: ignore[arg-type]
    (
        lambda: by_name("adamww"),
        f"Unknown rule 'adamww'. Did you mean 'adamw'? Choose one of: {', '.join(NAMES)} (rules). "
        'Try: by_name("adamw")',
    ),
    (lambda: by_name("Lion"), 'Try: by_name("lion")'),
    (
        lambda: AdamC(normalized="no"),
        "Unknown normalized 'no'. Choose one of: True, False (AdamC",
    ),  # type: ignore[arg-type]
    (lambda: ADOPT(growth=-1.0), "growth is out of range: got -1.0; expected [0, inf) (ADOPT"),
    (
        lambda: ADOPT(limit="t+1"),
        "Unknown limit 't+1'. Did you mean 't-1'? Choose one of: t-1, t, none (ADOPT",
    ),  # type: ignore[arg-type]
    (lambda: Yogi(starts="m"), "Unknown starts 'm'. Choose one of: v, both (Yogi"),  # type: ignore[arg-type]
    (lambda: Yogi(initial_accumulator=-1e-6), "initial_accumulator is out of range: got -1e-06"),
    (lambda: AdaBelief(rectify="radam"), "Unknown rectify 'radam'. Choose one of: False, True"),  # type: ignore[arg-type]
    (
        lambda: Adan(beta3=1.0),
        "beta3 is out of range: got 1.0; expected [0, 1) (Adan). Try: beta3=0.99",
    ),
    (
        lambda: Adan(difference="optax"),
        "Unknown difference 'optax'. Choose one of: kept, new (Adan",
    ),  # type: ignore[arg-type]
    (
        lambda: Lion(beta2=1.0),
        "beta2 is out of range: got 1.0; expected [0, 1) (Lion). Try: beta2=0.99",
    ),
    (lambda: Sophia(gamma=-0.1), "gamma is out of range: got -0.1; expected [0, inf) (Sophia"),
    (lambda: Sophia(floor="min"), "Unknown floor 'min'. Choose one of: max, sum (Sophia"),  # type: ignore[arg-type]
    (
        lambda: AdamMini(blocks="heads"),
        "Unknown blocks 'heads'. Choose one of: rows, tensor, element",
    ),  # type: ignore[arg-type]
    (
        lambda: AdamMini(rows=0),
        "rows is out of range: got 0; expected [1, inf) (AdamMini). Try: rows=1",
    ),
    (
        lambda: AdamMini(rows=4).init(torch.zeros(6, 3)),
        "The rows of a block do not divide those of the parameter: got 4; expected a divisor of 6 (AdamMini, a "
        "parameter of shape (6, 3)). Try: rows=1",
    ),
    (
        lambda: AdamMini(rows=1.5).init(torch.zeros(3)),
        "do not divide those of the parameter: got 1.5",
    ),
    (lambda: AdEMAMix(alpha=-1.0), "alpha is out of range: got -1.0; expected [0, inf) (AdEMAMix"),
    (
        lambda: AdEMAMix(warmup=-1.0),
        "warmup is out of range: got -1.0; expected [0, inf) (AdEMAMix",
    ),
    (lambda: Adafactor(clip=0.0), "clip is out of range: got 0.0; expected (0, inf] (Adafactor"),
    (
        lambda: Adafactor(rate="fixed"),
        "Unknown rate 'fixed'. Choose one of: relative, warmup, scaled",
    ),  # type: ignore[arg-type]
    (
        lambda: StableAdamW(d=0.0),
        "d is out of range: got 0.0; expected (0, inf] (StableAdamW). Try: d=1.0",
    ),
    (
        lambda: Adamax(eps_at="hat"),
        "Unknown eps_at 'hat'. Choose one of: max, after (Adamax",
    ),  # type: ignore[arg-type]
    (
        lambda: NAdam(momentum_decay=-1.0),
        "momentum_decay is out of range: got -1.0; expected [0, inf) (NAdam",
    ),
    (
        lambda: NAdam(momentum="optax"),
        "Unknown momentum 'optax'. Choose one of: scheduled, constant, single",
    ),  # type: ignore[arg-type]
    (
        lambda: RAdam(threshold=">6"),
        "Unknown threshold '>6'. Choose one of: >5, >=5, >4 (RAdam",
    ),  # type: ignore[arg-type]
    (
        lambda: RAdam(before="sgd"),
        "Unknown before 'sgd'. Choose one of: momentum, nothing (RAdam",
    ),  # type: ignore[arg-type]
    (
        lambda: LaProp(lr_at="buffer"),
        "Unknown lr_at 'buffer'. Choose one of: step, average (LaProp",
    ),  # type: ignore[arg-type]
    (lambda: LaProp(peak_lr=0.0), "peak_lr is out of range: got 0.0; expected (0, inf) (LaProp"),
    (
        lambda: AdamAtan2(b=-1.0),
        "b is out of range: got -1.0; expected [0, inf) (AdamAtan2). Try: b=1.0",
    ),
    (
        lambda: AdamAtan2(correction="none"),
        "Unknown correction 'none'. Choose one of: inside, outside",
    ),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_invalid_option_raises(call, text: str) -> None:
    with pytest.raises(BadInput) as error:
        call()
    assert text in str(error.value)


def test_misspelled_choice_suggests_the_nearest() -> None:
    with pytest.raises(BadInput, match='Try: decay="decoupled"'):
        AdamW(decay="decopled")  # type: ignore[arg-type]
