"""Rules whose state or step depends on the parameter's shape, and the pieces of them that vectors
do not show.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import rule_checks as checks
import torch
from torch.func import vmap
from torch.fx.experimental.proxy_tensor import make_fx

from betaplane.rules import Adafactor, AdamMini, AdamW, AdEMAMix, Rule, Sophia, StableAdamW

SHAPED = [
    AdamMini(weight_decay=0.1),
    AdamMini(rows=2),
    AdamMini(blocks="tensor"),
    AdamMini(blocks="element"),
    Adafactor(weight_decay=0.1),
    Adafactor(momentum=True, rate="warmup", decay_rate="alpha", weight_decay=0.1),
    Adafactor(floor="root", eps1=1e-10, min_dim=3),
    Adafactor(min_dim=5),
    StableAdamW(),
    Sophia(),
]
each = pytest.mark.parametrize("rule", SHAPED, ids=str)
shapes = pytest.mark.parametrize("shape", [(4, 3), (2, 3, 4)], ids=str)


@each
@shapes
def test_symmetries(rule: Rule, shape: tuple[int, ...]) -> None:
    x, g = checks.sample(*shape, seed=1), checks.sample(6, *shape, seed=2)
    assert checks.odd(rule, x, g)
    assert checks.rests(rule, x, g)
    assert checks.scale_free(rule, x, g) or not rule.laws.scale_free
    if getattr(rule, "rows", 1) == 1:
        assert checks.same(
            checks.run(rule, x.flip(0), g.flip(1), 0.01), checks.run(rule, x, g, 0.01).flip(1)
        )
    assert checks.same(
        checks.run(rule, x.flip(-1), g.flip(-1), 0.01), checks.run(rule, x, g, 0.01).flip(-1)
    )


@each
@shapes
def test_stacked_and_traced(rule: Rule, shape: tuple[int, ...]) -> None:
    """Runs that differ in their hyperparameters, stepped together, through a recording of the first
    step.
    """
    names = rule.hyperparameters()
    hyper = {
        name: getattr(rule, name) * torch.tensor([0.9, 1.0], dtype=torch.float64) for name in names
    }
    lr = torch.tensor([0.1, 0.01], dtype=torch.float64)
    x, gradients = (
        checks.sample(2, *shape, seed=7).float(),
        checks.sample(5, 2, *shape, seed=8).float(),
    )
    alone = [replace(rule, **{k: float(v[i]) for k, v in hyper.items()}) for i in range(2)]
    ones = [(x[i], alone[i].init(x[i])) for i in range(2)]
    many = vmap(rule.init)(x)
    many = type(many)(*(value.expand(2, *value.shape[1:]) for value in many))
    step = vmap(lambda x, g, s, lr, hyper: replace(rule, **hyper).step(x, g, s, lr))
    traced = make_fx(step)(x, gradients[0], many, lr, hyper)
    for g in gradients:
        x, many = traced(x, g, many, lr, hyper)
        ones = [alone[i].step(one, g[i], s, float(lr[i])) for i, (one, s) in enumerate(ones)]
        assert x.dtype == torch.float32
        assert torch.allclose(x, torch.stack([one for one, _ in ones]), rtol=2e-5, atol=1e-6)


@each
def test_a_zero_gradient_and_a_number_alone(rule: Rule) -> None:
    """In 32 bits the product of two tiny factors is zero, and g over its root is not a number."""
    x = torch.ones(4, 3)
    path = checks.run(replace(rule, weight_decay=0.0), x, torch.zeros(3, 4, 3), 0.01)
    assert torch.equal(path[-1], x)
    if getattr(rule, "rows", 1) == 1:
        assert bool(
            torch.isfinite(
                checks.run(rule, torch.tensor(1.0), torch.tensor([0.5, -0.1]), 0.01)
            ).all()
        )


# ---- Adam-mini


def test_mini_elements_are_adamw() -> None:
    x, g = checks.sample(3, 4, seed=1), checks.sample(9, 3, 4, seed=2)
    ours = checks.run(AdamMini(blocks="element", weight_decay=0.1), x, g, 0.01)
    assert torch.allclose(ours, checks.run(AdamW(weight_decay=0.1), x, g, 0.01), rtol=0, atol=1e-13)


def test_mini_heads_are_tensors() -> None:
    """A block of n rows steps as a tensor of those rows."""
    x, g = checks.sample(6, 4, seed=1), checks.sample(9, 6, 4, seed=2)
    whole = checks.run(AdamMini(rows=3), x, g, 0.01)
    heads = [
        checks.run(AdamMini(blocks="tensor"), x[i : i + 3], g[:, i : i + 3], 0.01) for i in (0, 3)
    ]
    assert torch.allclose(whole, torch.cat(heads, dim=1), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("rule", "blocks"),
    [
        (AdamMini(), 6),
        (AdamMini(rows=2), 3),
        (AdamMini(blocks="tensor"), 1),
        (AdamMini(blocks="element"), 24),
    ],
)
def test_mini_state(rule: AdamMini, blocks: int) -> None:
    assert rule.init(torch.zeros(6, 2, 2)).v.shape == (blocks,)


def test_mini_lone_gradient() -> None:
    """One gradient among n that are zero: sqrt(n) lr."""
    g = torch.zeros(1, 1, 9, dtype=torch.float64)
    g[..., 4] = -0.3
    path = checks.run(replace(AdamMini(), eps=0.0), torch.zeros(1, 9, dtype=torch.float64), g, 0.01)
    assert float(path[-1, 0, 4]) == pytest.approx(0.03, abs=1e-15)


# ---- Adafactor


def test_adafactor_state() -> None:
    shapes = lambda rule, x: [tuple(value.shape) for value in rule.init(x)]  # noqa: E731
    assert shapes(Adafactor(), torch.zeros(5, 3, 4)) == [(), (), (5, 3), (5, 4), ()]
    assert shapes(Adafactor(min_dim=4, momentum=True), torch.zeros(3, 4)) == [
        (),
        (3, 4),
        (),
        (),
        (3, 4),
    ]
    assert shapes(Adafactor(), torch.zeros(7)) == [(), (), (), (), (7,)]


def test_adafactor_factors_what_is_a_product() -> None:
    """If g^2 is the same product of a column and one row at every step, the factors are exact."""
    column, row = checks.sample(4, 1, seed=1), checks.sample(1, 3, seed=2)
    x, g = checks.sample(4, 3, seed=3), checks.sample(8, 1, 1, seed=4) * column * row
    assert checks.same(
        checks.run(Adafactor(), x, g, 0.01), checks.run(Adafactor(min_dim=5), x, g, 0.01)
    )


def test_adafactor_rates() -> None:
    """The first two steps on two numbers of RMS 5, over lr or what stands for it."""
    x = torch.tensor([7.0, -1.0], dtype=torch.float64)
    g = torch.tensor([[0.1, 2.0], [0.1, 2.0]], dtype=torch.float64)
    steps = lambda rule, lr: checks.run(rule, x, g, lr).diff(dim=0).abs()[:, 0].tolist()  # noqa: E731
    first, second = steps(Adafactor(), 0.01)
    assert first == pytest.approx(0.05, abs=1e-15)
    moved = ((6.95**2 + 1.05**2) / 2) ** 0.5
    assert second == pytest.approx(0.01 * moved, abs=1e-15)
    assert steps(Adafactor(), 2.0)[0] == pytest.approx(5.0, abs=1e-14)  # 1 / sqrt(t) is the cap
    assert steps(Adafactor(rate="warmup"), 0.01)[0] == pytest.approx(5e-6, abs=1e-15)
    assert steps(Adafactor(rate="scaled"), 2.0)[0] == pytest.approx(10.0, abs=1e-14)
    assert steps(Adafactor(rate="constant"), 0.03) == pytest.approx([0.03, 0.03], abs=1e-15)
    assert steps(Adafactor(rate="constant", momentum=True), 0.03) == pytest.approx(
        [0.003, 0.0057], abs=1e-15
    )
    assert steps(Adafactor(rate="constant", eps2=9.0), 0.03)[0] == pytest.approx(0.03, abs=1e-15)
    assert steps(Adafactor(eps2=9.0), 0.01)[0] == pytest.approx(0.09, abs=1e-15)


def test_adafactor_decay_rates() -> None:
    x, g = torch.full((2,), 5.0, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
    by_lr = checks.run(Adafactor(weight_decay=0.1), x, g, 0.01)[-1]
    by_alpha = checks.run(Adafactor(weight_decay=0.1, decay_rate="alpha"), x, g, 0.01)[-1]
    assert by_lr.tolist() == pytest.approx([5 * (1 - 0.001)] * 2, abs=1e-14)
    assert by_alpha.tolist() == pytest.approx([5 * (1 - 0.005)] * 2, abs=1e-14)


def test_adafactor_clips_by_tensor() -> None:
    """An update of RMS 2 and one of RMS 1, at clip = 0.5: both have RMS 0.5."""
    rule = Adafactor(rate="constant", clip=0.5)
    path = checks.run(rule, torch.zeros(6, dtype=torch.float64), checks.sample(12, 6, seed=2), 1.0)
    sizes = path.diff(dim=0).square().mean(dim=1).sqrt()
    assert float(sizes.max()) == pytest.approx(0.5, abs=1e-12)


# ---- StableAdamW


def test_stable_limits() -> None:
    """A gradient ten times the last: RMS_t from the pencil, and decay with the rate or without."""
    x, g = torch.ones(1, dtype=torch.float64), torch.tensor([[1.0], [10.0]], dtype=torch.float64)
    b1, b2 = 0.9 * 0.1 / 0.19, 0.99 * 0.01 / 0.0199
    m, v = b1 + (1 - b1) * 10, b2 + (1 - b2) * 100
    size = 10 / v**0.5
    start = 1 - 0.01 * 0.2 - 0.01
    for limits, debias, lr_d in (("rate", "schedule", 0.01 / size), ("update", "both", 0.01)):
        rule = StableAdamW(eps=0.0, weight_decay=0.2, limits=limits, debias=debias)
        x2 = start * (1 - lr_d * 0.2) - 0.01 / size * m / v**0.5
        assert float(checks.run(rule, x, g, 0.01)[-1]) == pytest.approx(x2, abs=1e-14)


def test_stable_floor() -> None:
    """In RMS_t eps is a floor for the root, so that tiny gradients beside it count for little."""
    x, g = torch.zeros(2, dtype=torch.float64), torch.tensor([[1e-3, 1.0]], dtype=torch.float64)
    path = checks.run(StableAdamW(eps=2.0, weight_decay=0.0), x, g, 1.0)
    assert path[-1].tolist() == pytest.approx([-1e-3 / 2.001, -1 / 3], abs=1e-14)


def test_stable_without_limit_is_adamw() -> None:
    x, g = checks.sample(3, 4, seed=1), checks.sample(9, 3, 4, seed=2)
    ours = checks.run(StableAdamW(0.9, 0.95, 1e-8, 0.1, d=float("inf")), x, g, 0.01)
    assert torch.allclose(
        ours, checks.run(AdamW(0.9, 0.95, 1e-8, 0.1), x, g, 0.01), rtol=0, atol=1e-12
    )


# ---- Sophia


def test_sophia_curvature() -> None:
    """Beside a negative curvature the step is lr; unclipped, it is m over gamma h, with m debiased
    where asked.
    """
    x, g = torch.zeros(3, dtype=torch.float64), torch.full((3,), 0.5, dtype=torch.float64)
    for floor in ("max", "sum"):
        for debias, m_hat in (("none", 0.02), ("first", 0.5)):
            rule = Sophia(gamma=0.5, weight_decay=0.0, floor=floor, debias=debias)
            s = rule.curvature(
                rule.init(x), torch.tensor([-100.0, 200.0, 1e-3], dtype=torch.float64)
            )
            assert s.h.tolist() == pytest.approx([-1.0, 2.0, 1e-5], abs=1e-14)
            moved, s = rule.step(x, g, s, 0.1)
            assert moved.tolist() == pytest.approx([-0.1, -0.1 * m_hat, -0.1], abs=1e-11)


def test_sophia_keeps_its_curvature() -> None:
    rule, x = Sophia(), torch.ones(2)
    s = rule.curvature(rule.init(x), torch.ones(2))
    assert torch.equal(rule.step(x, x, s, 0.1)[1].h, s.h)


# ---- AdEMAMix


def test_ademamix_half_life() -> None:
    """Halfway through the warmup, the slow average's half-life is halfway between those of beta1
    and beta3.
    """
    rule, x = AdEMAMix(warmup=2.0), torch.zeros(1, dtype=torch.float64)
    s = rule.step(x, torch.ones(1, dtype=torch.float64), rule.init(x), 0.1)[1]
    half = lambda beta: math.log(0.5) / math.log(beta)  # noqa: E731
    assert half(1 - float(s.m2)) == pytest.approx((half(0.9) + half(0.9999)) / 2, rel=1e-9)


def test_ademamix_slow_average_keeps_its_digits_in_32_bits() -> None:
    x = torch.zeros(1)
    m2 = AdEMAMix().step(x, torch.ones(1), AdEMAMix().init(x), 0.1)[1].m2
    assert float(m2) == pytest.approx(1e-4, rel=3e-7)
