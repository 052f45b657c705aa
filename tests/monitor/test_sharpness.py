"""Sharpness against exact Hessians, noise scale and balance against simulation, totals by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import betaplane
from betaplane.errors import BadInput
from betaplane.monitor.quantities import formulas as q
from betaplane.monitor.quantities.aggregates import total
from betaplane.monitor.quantities.batched import read_all
from betaplane.monitor.quantities.noise_scale import (
    MicrobatchGradients,
    noise_of_norms,
    noise_of_parts,
)
from betaplane.monitor.quantities.sharpness import sharpness, top_eigenvalue
from betaplane.theory import preconditioned_curvature, stability_threshold, weight_rms

BETAS = [(0.9, 0.999), (0.0, 0.9), (0.95, 0.95)]


class Small:
    """A network of 27 float64 weights after some Adam steps."""

    def __init__(
        self, betas: tuple[float, float] = (0.9, 0.999), steps: int = 7, lr: float = 0.01
    ) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(
            nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1), nn.Dropout(0.0)
        ).double()
        self.x, self.y = torch.randn(40, 4).double(), torch.randn(40, 1).double()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr, betas, eps=1e-6)
        for _ in range(steps):
            self.optimizer.zero_grad()
            self.loss().backward()
            self.optimizer.step()
        self.params = [*self.model.parameters()]

    def loss(self) -> torch.Tensor:
        return (self.model(self.x) - self.y).square().mean()

    def exact(self, betas: tuple[float, float], t: int) -> tuple[float, float]:
        """Both curvatures over the threshold 2 / lr, from the theory's closed form."""
        at = torch.cat([p.detach().flatten() for p in self.params])

        def loss(flat: torch.Tensor) -> torch.Tensor:
            parts = flat.split([p.numel() for p in self.params])
            names = dict(self.model.named_parameters())
            parameters = {
                name: part.view_as(p) for (name, p), part in zip(names.items(), parts, strict=True)
            }
            return (
                (torch.func.functional_call(self.model, parameters, self.x) - self.y)
                .square()
                .mean()
            )

        H, g = (
            torch.autograd.functional.hessian(loss, at),
            torch.autograd.functional.jacobian(loss, at),
        )
        v = torch.cat([self.optimizer.state[p]["exp_avg_sq"].flatten() for p in self.params])
        H = (H + H.T) / 2
        curvature = preconditioned_curvature(
            H.numpy(), g.numpy(), v.numpy() / (1 - betas[1] ** t), betas[0], t, 1e-6
        )
        return curvature.top * 0.01 / 2, curvature.along_gradient * 0.01 / 2


@pytest.mark.parametrize("betas", BETAS)
def test_sharpness_equals_the_exact_hessian(betas: tuple[float, float]):
    small = Small(betas)
    estimate = sharpness(small.optimizer, small.loss, rounds=40)
    top, along = small.exact(betas, 7)
    assert estimate.top == pytest.approx(top, rel=1e-6)
    assert estimate.along_gradient == pytest.approx(along, rel=1e-9)
    assert estimate.loss == small.loss().item()


def test_twenty_products_find_the_top_eigenvalue():
    small = Small()
    assert sharpness(small.optimizer, small.loss).top == pytest.approx(
        small.exact((0.9, 0.999), 7)[0], rel=1e-3
    )


def test_quadratic_diverges_if_its_relative_curvature_exceeds_one():
    """Adam with a frozen v on x^2 h / 2: stable below the threshold, not above."""
    for share in (0.9, 1.1):
        h = share * stability_threshold(0.9, 0.01)
        p = nn.Parameter(torch.full((1,), 1e-12, dtype=torch.float64))  # so small that v stays
        optimizer = torch.optim.Adam([p], 0.01, (0.9, 1 - 1e-15), eps=0.0)
        optimizer.state[p] = {
            "step": torch.tensor(10_000.0),
            "exp_avg": torch.zeros_like(p),
            "exp_avg_sq": torch.full_like(p, 1 - (1 - 1e-15) ** 10_001).detach(),
        }
        estimate = sharpness(optimizer, lambda p=p, h=h: (h * p * p / 2).sum())
        assert estimate.top == pytest.approx(share, rel=1e-2)
        for _ in range(300):
            p.grad = h * p.detach()
            optimizer.step()
        assert (abs(p.item()) > 1e-12) == (share > 1)


def test_sharpness_changes_nothing():
    small = Small()
    watcher = betaplane.watch(small.optimizer, console=False)
    small.loss().backward()
    before = [p.grad.clone() for p in small.params], torch.get_rng_state()

    def noisy() -> torch.Tensor:
        return small.loss() * (1 + torch.rand(()))

    assert watcher.sharpness(noisy, rounds=3).top > 0
    watcher.close()
    assert all(torch.equal(p.grad, g) for p, g in zip(small.params, before[0], strict=True))
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize("seed", range(3))
def test_lanczos_finds_the_top_eigenvalue_of_a_random_matrix(seed: int):
    A = torch.randn(60, 60, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    A = A + A.T
    start = torch.randn(60, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    assert top_eigenvalue(lambda u: A @ u, start, 60) == pytest.approx(
        torch.linalg.eigvalsh(A)[-1].item(), rel=1e-8
    )


def test_noise_scale_recovers_planted_noise():
    """Gradients of one sample: mean mu, covariance sigma^2 I."""
    torch.manual_seed(0)
    mu, sigma, batch, parts, signal, noise = torch.full((200,), 0.1), 3.0, 16, 8, 0.0, 0.0
    for _ in range(400):
        measured = noise_of_parts(mu + sigma / math.sqrt(batch) * torch.randn(parts, 200), batch)
        signal, noise = signal + measured.signal / 400, noise + measured.noise / 400
    assert signal == pytest.approx(200 * 0.01, rel=0.1)
    assert noise == pytest.approx(200 * 9.0, rel=0.02)


def test_microbatch_gradients_are_separated_during_accumulation():
    torch.manual_seed(0)
    p = nn.Parameter(torch.zeros(5, 4))
    parts, gradients = MicrobatchGradients([p], batch=2), torch.randn(3, 5, 4)
    for g in gradients:
        (p * g / 3).sum().backward()
        parts.add()
    whole = noise_of_parts(gradients.flatten(1), 2)
    assert parts.noise().noise == pytest.approx(whole.noise, rel=1e-5)
    assert parts.noise().signal == pytest.approx(whole.signal, rel=1e-4, abs=1e-5)
    parts.clear()
    assert not parts.sums


def test_weights_under_noise_reach_balance():
    torch.manual_seed(0)
    p = nn.Parameter(torch.full((4000,), 0.01))
    optimizer = torch.optim.AdamW([p], 1e-2, weight_decay=0.5)
    with betaplane.watch(optimizer, every=700, budget=math.inf, console=False) as watcher:
        for _ in range(700):
            p.grad = torch.randn(4000)
            optimizer.step()
    [group, whole] = watcher.totals()
    assert whole.weight_rms == pytest.approx(weight_rms(1e-2, 0.5), rel=0.05)
    assert group.balance == pytest.approx(1.0, rel=0.1)
    assert math.isnan(q.balance(0.2, 1.0, 1e-2, 0.0, 0.9))


def test_total_equals_the_reading_of_the_concatenation():
    torch.manual_seed(0)
    p = [nn.Parameter(torch.randn(30, 20)), nn.Parameter(torch.randn(50))]
    both = nn.Parameter(torch.cat([each.detach().flatten() for each in p]))
    readings = []
    for params in (p, [both]):
        torch.manual_seed(1)
        optimizer = torch.optim.AdamW(params)
        with betaplane.watch(optimizer, every=1, budget=math.inf, console=False) as watcher:
            for _ in range(4):
                g = torch.randn(650)
                for each, part in zip(
                    params, g.split([each.numel() for each in params]), strict=True
                ):
                    each.grad = part.view_as(each)
                optimizer.step()
        readings.append(watcher.history.readings.latest())
    whole, [one] = total(readings[0]), readings[1]
    for name in {*whole._fields} & {*one._fields} - {"step"}:
        assert getattr(whole, name) == pytest.approx(getattr(one, name), rel=1e-4), name
    assert whole.g_norm == pytest.approx(one.g_rms * math.sqrt(650), rel=1e-4)


def test_no_readings_give_no_totals():
    assert read_all(1, []) == []
    watcher = betaplane.watch(torch.optim.Adam([nn.Parameter(torch.ones(1))]), console=False)
    assert watcher.totals() == []
    watcher.close()


WRONG = {
    "no step yet": (
        lambda: sharpness(torch.optim.Adam([nn.Parameter(torch.ones(1))]), lambda: torch.ones(())),
        "There are no readable moments; take a step first (sharpness). Try: optimizer.step()",
    ),
    "no graph": (
        lambda: sharpness(Small().optimizer, lambda: torch.ones(())),
        "The loss has no graph: expected a tensor of one element with its graph (sharpness).",
    ),
    "no function": (
        lambda: sharpness(Small().optimizer, "mse"),
        "loss is not callable: got 'mse'; expected a function (sharpness).",
    ),
    "a function of an argument": (
        lambda: sharpness(Small().optimizer, lambda model: model(1)),
        "loss has the wrong signature: got '<lambda>'; expected a function of 0 arguments (sharpness).",
    ),
    "one part": (
        lambda: noise_of_parts(torch.ones(1, 3), 4),
        "Too few gradients: got (1, 3); expected (K, n) with K >= 2",
    ),
    "batches": (
        lambda: noise_of_norms(1.0, 1.0, 8, 8),
        "The batch sizes do not fit: got (8, 8); expected 1 <= small_batch <",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_rejected(name: str):
    call, message = WRONG[name]
    with pytest.raises(BadInput) as caught:
        call()
    assert str(caught.value).startswith(message), str(caught.value)
