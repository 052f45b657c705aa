"""Differences between rules and between their variants, in numbers computed by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import rule_checks as checks
import torch

from betaplane.rules import ADOPT, AdaBelief, AdamC, AdamW, Adan, CautiousAdamW, Rule, Yogi
from betaplane.rules._math import rectification

ONE = torch.ones(1, dtype=torch.float64)


def moves(rule: Rule, *gradients: float) -> list[float]:
    """(x' - x) / lr of each step on one element that starts at 1."""
    g = torch.tensor(gradients, dtype=torch.float64)[:, None]
    return (checks.run(rule, ONE, g, 1e-3).diff(dim=0) / 1e-3).squeeze(1).tolist()


def test_cautious_mask_of_the_paper() -> None:
    """One element of three agrees: the paper takes 3 / (1 + 1) of AdamW's step, the code 3 / 1."""
    x, g = (
        torch.zeros(3, dtype=torch.float64),
        torch.tensor([[1.0, 1.0, 1.0], [1.0, -0.5, -0.5]]).double(),
    )
    plain, code, paper = (
        checks.run(CautiousAdamW(weight_decay=0.0, cautious=way), x, g, 1.0).diff(dim=0)[1]
        for way in ("off", "mean", "paper")
    )
    assert bool((plain < 0).all())
    assert code.tolist() == pytest.approx([3 * float(plain[0]), 0.0, 0.0])
    assert paper.tolist() == pytest.approx([1.5 * float(plain[0]), 0.0, 0.0])


@pytest.mark.parametrize(
    ("rule", "factor"),
    [
        (AdamC(weight_decay=0.1, peak_lr=0.2), 1 - 0.05**2 / 0.2 * 0.1),
        (AdamC(weight_decay=0.1, peak_lr=0.2, normalized=False), 1 - 0.05 * 0.1),
        (AdamC(weight_decay=0.1, peak_lr=0.2, decay="independent"), 1 - 0.25**2 * 0.1),
    ],
    ids=str,
)
def test_corrected_decay(rule: AdamC, factor: float) -> None:
    """At zero gradient x shrinks by the factor alone."""
    x, _ = rule.step(ONE, torch.zeros_like(ONE), rule.init(ONE), 0.05)
    assert x.item() == pytest.approx(factor, abs=1e-15)


def test_adamc_at_its_peak_is_adamw() -> None:
    x, gradients = checks.sample(7, seed=5), checks.sample(20, 7, seed=6)
    ours = checks.run(AdamC(weight_decay=0.3, peak_lr=0.01), x, gradients, 0.01)
    assert checks.same(ours, checks.run(AdamW(weight_decay=0.3), x, gradients, 0.01), 1e-14)


def test_corrected_decay_holds_the_balance() -> None:
    """Orthogonal updates of size lr: |u| / |x| settles where Defazio says, whatever the lr; AdamW's
    does not.
    """
    for lr in (0.1, 0.02):
        rule, x = AdamC(weight_decay=0.1, peak_lr=0.1), 1.0
        shrink = rule.step(ONE, torch.zeros_like(ONE), rule.init(ONE), lr)[0].item()
        for _ in range(60_000):
            x = ((shrink * x) ** 2 + lr**2) ** 0.5
        assert 1 / x == pytest.approx((2 * 0.1 / 0.1) ** 0.5, rel=0.01)


def test_adopt_limits() -> None:
    """v = 1 after the first gradient, so n is g: 0.1 of it, or of the limit, is the second move, by
    way of m.
    """
    rule = ADOPT(beta2=0.0)
    assert moves(rule, 1.0, 9.0) == pytest.approx([0.0, -0.1])
    assert moves(replace(rule, limit="t"), 1.0, 9.0) == pytest.approx([0.0, -0.1 * 2**0.25])
    assert moves(replace(rule, limit="none"), 1.0, 9.0) == pytest.approx([0.0, -0.9])
    # the limit of step 3 is 2^growth, v is 1 again, and m = 0.9 * 0.1 + 0.1 n
    assert moves(replace(rule, growth=1.0), 1.0, 1.0, 9.0) == pytest.approx([0.0, -0.1, -0.29])


def test_adopt_divides_by_the_larger_of_root_and_eps() -> None:
    assert moves(ADOPT(eps=0.5), 0.1, 0.2) == pytest.approx([0.0, -0.04])


def test_adopt_decays_from_the_second_step_on() -> None:
    """Decoupled decay waits; L2 decay is in the first v: the second g = 0 + 1 over v = 1 is 1."""
    assert moves(ADOPT(weight_decay=1.0, decay="decoupled"), 0.0, 0.0) == pytest.approx([0.0, -1.0])
    assert moves(ADOPT(weight_decay=1.0), 0.0, 0.0) == pytest.approx([0.0, -0.1])


def test_yogi_starts() -> None:
    """At g = 0 the optax start moves x by m_hat / (sqrt(v_hat) + eps) = 9e-6 / (sqrt(1e-3) + eps)."""
    assert moves(Yogi(), 0.0) == [0.0]
    assert moves(Yogi(starts="both"), 0.0) == pytest.approx([-9e-6 / (1e-3**0.5 + 1e-3)])


def test_yogi_walks_and_adam_leaps() -> None:
    """From v = 4: g = 1 lowers it by (1 - beta2) g^2 = 0.5, g = 3 raises it by 4.5, and g = 0
    leaves it.
    """
    rule = Yogi(beta2=0.5, initial_accumulator=4.0)
    for g, v in ((1.0, 3.5), (3.0, 8.5), (0.0, 4.0), (2.0, 4.0)):
        assert rule.step(ONE, g * ONE, rule.init(ONE), 0.1)[1].v.item() == v
    soft = replace(rule, activation="tanh").step(ONE, 1.9 * ONE, rule.init(ONE), 0.1)[1].v.item()
    assert soft == pytest.approx(4 - 0.5 * torch.tensor(3.9).tanh().item() * 3.61, abs=1e-6)


def test_adabelief_warms_up_as_radam() -> None:
    """Rectified, it is momentum for five steps; the sixth is the plain step times r_6."""
    g = checks.sample(6, seed=11).tolist()
    plain, rectified = moves(AdaBelief(), *g), moves(AdaBelief(rectify=True), *g)
    m, averages = 0.0, []
    for t, value in enumerate(g, 1):
        m = 0.9 * m + 0.1 * value
        averages.append(-m / (1 - 0.9**t))
    assert rectified[:5] == pytest.approx(averages[:5], rel=1e-9)
    rho_inf = 1999.0
    rho = rho_inf - 12 * 0.999**6 / (1 - 0.999**6)
    r = ((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)) ** 0.5
    assert rectified[5] == pytest.approx(r * plain[5], rel=1e-9)


def test_rectification_keeps_its_digits() -> None:
    """A count in 32 bits crosses rho = 5 at the same step as one in 64, though rho_5 = 4.99996 at
    beta2 = 0.99999.
    """
    for beta2 in (0.9, 0.999, 0.99999):
        rho = [float(rectification(beta2, torch.tensor(float(t)))[0]) for t in range(1, 8)]
        assert [value >= 5 for value in rho] == [t >= 6 for t in range(1, 8)]
        assert float(rectification(beta2, torch.tensor(1e7))[1]) == pytest.approx(1.0, abs=1e-5)


def test_adabelief_adds_eps_up() -> None:
    """At a constant gradient and beta1 = 0 nothing surprises: v is eps times 1 + beta2 + ..."""
    rule, s = AdaBelief(beta1=0.0, beta2=0.5, eps=1e-4), AdaBelief().init(ONE)
    for total in (1e-4, 1.5e-4, 1.75e-4):
        _, s = rule.step(ONE, ONE, s, 0.1)
        assert s.v.item() == pytest.approx(total)


def test_adan_decays() -> None:
    """At zero gradient x shrinks: 1 / (1 + 0.1), 1 - 0.1, and with L2 decay by a step of Adan's on
    g = x.
    """
    rule, rest = Adan(weight_decay=1.0, eps=0.0), torch.full_like(ONE, 1e-300)
    shrunk = [
        replace(rule, **way).step(ONE, rest, rule.init(ONE), 0.1)[0].item()
        for way in ({"eps": 1e-8}, {"eps": 1e-8, "proximal": False}, {"decay": "l2"})
    ]
    assert shrunk == pytest.approx([1 / 1.1, 0.9, 0.9], abs=1e-12)
    halved = replace(rule, eps=1e-8, decay="independent", peak_lr=0.2).step(
        ONE, rest, rule.init(ONE), 0.1
    )[0]
    assert halved.item() == pytest.approx(1 / 1.5, abs=1e-12)


def test_adan_difference() -> None:
    """Two steps at g = 1, 0: delta = -1, weighed by beta2 = 0.75 or by 0.25; all betas 0.75, so 1 -
    beta^2 = 7 / 16.
    """
    rule = Adan(0.75, 0.75, 0.75, eps=0.0)
    for name, share in (("kept", 0.75), ("new", 0.25)):
        m_hat, d_hat = 0.1875 * 16 / 7, -0.25 * 16 / 7
        n_hat = (0.1875 + 0.25 * share**2) * 16 / 7
        expected = [-1.0, -(m_hat + share * d_hat) / n_hat**0.5]
        assert moves(replace(rule, difference=name), 1.0, 0.0) == pytest.approx(expected)


def test_adan_bound() -> None:
    """The largest step over all histories: (m_hat + beta2 d_hat)^2 against n_hat, a quadratic form,
    solved.
    """
    steps, rule = 1200, replace(Adan(), eps=0.0)
    ages = torch.arange(steps - 1, -1, -1, dtype=torch.float64)
    weights = [
        (1 - beta) * beta**ages / (1 - beta**steps) for beta in (rule.beta1, rule.beta2, rule.beta3)
    ]
    delta = torch.eye(steps, dtype=torch.float64) - torch.eye(steps, dtype=torch.float64).roll(
        -1, dims=1
    ).tril(-1)
    delta[0] = 0
    ahead = torch.eye(steps, dtype=torch.float64) + rule.beta2 * delta
    reach = torch.linalg.solve(ahead.T, weights[0] + rule.beta2 * delta.T @ weights[1])
    worst = torch.linalg.solve(ahead, reach / weights[2])
    assert float((reach**2 / weights[2]).sum().sqrt()) == pytest.approx(1.2054, abs=1e-4)
    path = checks.run(rule, torch.zeros(1, dtype=torch.float64), worst[:, None], 1.0)
    assert float(path.diff(dim=0).abs().max()) == pytest.approx(1.2054, abs=1e-4)
