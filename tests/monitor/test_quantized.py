"""8-bit states of the installed torchao and bitsandbytes: dequantized, as the step used them."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from betaplane.monitor import Watcher, watch

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _their_warnings_are_theirs() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def train(make: Any, watched: bool = True) -> tuple[nn.Module, Watcher | None]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 4))
    optimizer = make(model.parameters())
    options = {"every": 1, "budget": math.inf, "console": False, "model": model}
    watcher = watch(optimizer, **options) if watched else None
    for step in range(40):
        generator = torch.Generator().manual_seed(step)
        x, y = (
            torch.randn(16, 64, generator=generator),
            torch.randint(4, (16,), generator=generator),
        )
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        if watcher is not None:
            watcher.loss(loss)
        optimizer.step()
    return model, watcher


def check(make: Any, close: float) -> None:
    """Watching is neutral, moments are close to those in 32 bits, and there is no alert."""
    model, watcher = train(make)
    bare, _ = train(make, watched=False)
    _, plain = train(lambda params: torch.optim.AdamW(params, lr=1e-3))
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), bare.parameters(), strict=True)
    )
    readings, right = (
        {each.layer: each for each in which.history.current_readings()}
        for which in (watcher, plain)
    )
    assert set(readings) == set(right) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    for layer, reading in right.items():
        assert readings[layer].root_rms == pytest.approx(reading.root_rms, rel=close)
        assert readings[layer].m_rms == pytest.approx(reading.m_rms, rel=close)
        assert readings[layer].t == 40
    assert not watcher.alerts, watcher.report()


@pytest.mark.parametrize(
    ("name", "close"), [("AdamW8bit", 0.02), ("AdamW4bit", 0.15), ("AdamWFp8", 0.05)]
)
def test_torchao_states_are_read(name: str, close: float) -> None:
    optim = pytest.importorskip("torchao.optim")
    check(lambda params: getattr(optim, name)(params, lr=1e-3), close)


@pytest.mark.parametrize("name", ["AdamW8bit", "AdamW"])
def test_bitsandbytes_states_are_read(name: str) -> None:
    optim = pytest.importorskip("bitsandbytes").optim
    check(lambda params: getattr(optim, name)(params, lr=1e-3, weight_decay=0.01), 0.05)


def test_moments_of_another_shape_are_skipped() -> None:
    """AdEMAMix of bitsandbytes stores two first moments in one tensor."""
    optim = pytest.importorskip("bitsandbytes").optim
    _, watcher = train(lambda params: optim.AdEMAMix(params, lr=1e-3))
    assert not watcher.history.current_readings()
    assert not watcher.alerts
