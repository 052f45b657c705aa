"""Planted sicknesses are found, in the layer they were planted in, with the reason; the other
layers stay clean.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import eight_bits, saved, trained

from betaplane.checkpoints import inspect

State = dict[str, Any]
SICK = "2.weight"


def nan(s: State) -> None:
    s["exp_avg"][0, 0] = torch.nan


def negative(s: State) -> None:
    s["exp_avg_sq"][1, 2] = -1e-9


def rows_without_v(s: State) -> None:
    s["exp_avg_sq"][1] = 0


def tiny(s: State) -> None:
    s["exp_avg"] *= 1e-9
    s["exp_avg_sq"] *= 1e-18


def reset(s: State) -> None:
    s["step"].zero_()


def one_step(s: State) -> None:
    s["step"].fill_(1)


def no_longer_root(s: State) -> None:
    s["exp_avg"] *= 10


def endless(s: State) -> None:
    s["step"].fill_(torch.inf)


def no_number(s: State) -> None:
    s["step"].fill_(torch.nan)


PLANTED: list[tuple[Callable[[State], None], str]] = [
    (nan, "1 element of its moments is nan or infinite"),
    (negative, "1 element of v is negative, and a mean of squares never is"),
    (rows_without_v, "v = 0 and m != 0 in 33.33% of it"),
    (tiny, "sqrt(v_hat) < eps = 1e-08 in 100% of it: there Adam is SGD with lr / eps"),
    (reset, "its step is 0 and its moments are not: steps were reset"),
    (one_step, "its step is 1, so |m_hat| = sqrt(v_hat), but their ratio is up to "),
    (no_longer_root, "and no gradients give more than 1.06 at step 12: damage, or changed betas"),
    (endless, "its step is inf"),
    (no_number, "its step is nan"),
]


@pytest.mark.parametrize(("plant", "reason"), PLANTED, ids=lambda x: getattr(x, "__name__", ""))
def test_a_sickness_is_found_where_it_is(
    plant: Callable[[State], None], reason: str, tmp_path: Path
):
    held = trained()[1].state_dict()
    assert not inspect(saved(held, tmp_path / "well.pt")).suspicious
    plant(held["state"][2])
    found = inspect(saved(held, tmp_path / "sick.pt"))
    assert [row.health.name for row in found.suspicious] == [SICK]
    assert found.rows[0].health.name == SICK
    assert any(reason in one.what for one in found.rows[0].reasons if one.severe)


def test_moments_that_cannot_move(tmp_path: Path):
    model, _ = trained()
    half = torch.optim.AdamW(
        [p.detach().bfloat16().requires_grad_() for p in model.parameters()], betas=(0.9, 0.999)
    )
    for p in half.param_groups[0]["params"]:
        p.grad = torch.ones_like(p)
    half.step()
    found = inspect(saved(half.state_dict(), tmp_path / "opt.pt"))
    assert len(found.suspicious) == 4
    assert (
        found.suspicious[0].reasons[0].what
        == "v cannot fall in bfloat16: 1 - beta2 = 0.001 is below half its spacing"
    )


def test_columns_that_no_gradient_reached_are_no_sickness(tmp_path: Path):
    found = inspect(saved(trained()[1].state_dict(), tmp_path / "opt.pt"))
    (row,) = [row for row in found.rows if row.reasons]
    assert row.health.zero == 1 / 80
    assert [one.what for one in row.reasons] == [
        "v = 0 in 1.2% of it, which no gradient ever reached"
    ]
    assert row.health.lost == 0


def test_a_layer_that_was_added_late(tmp_path: Path):
    held = trained()[1].state_dict()
    held["state"][0]["step"] -= 9
    row = inspect(saved(held, tmp_path / "opt.pt")).rows[0]
    assert row.health.name == "0.weight"
    assert "it has taken 3 steps, others 12" in " ".join(one.what for one in row.reasons)


def test_the_bound_is_attained_and_not_exceeded(tmp_path: Path):
    from betaplane.theory import extremal_gradients

    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([x], betas=(0.9, 0.99), eps=1e-30)
    for g in extremal_gradients(0.9, 0.99, 40):
        x.grad = torch.tensor([g])
        optimizer.step()
    (row,) = inspect(saved(optimizer.state_dict(), tmp_path / "opt.pt")).rows
    assert row.health.ratio == pytest.approx(row.health.bound, rel=1e-6)
    assert row.health.ratio > 1.2
    assert not row.severe


def test_numbers_are_those_of_the_definitions(tmp_path: Path):
    _, optimizer = trained()
    s = optimizer.state[optimizer.param_groups[0]["params"][1]]
    m, v = s["exp_avg"].double() / (1 - 0.9**12), s["exp_avg_sq"].double() / (1 - 0.999**12)
    found = inspect(saved(optimizer.state_dict(), tmp_path / "opt.pt"))
    h = next(row.health for row in found.rows if row.health.name == "0.bias")
    assert h.m_rms == pytest.approx(float(s["exp_avg"].double().square().mean().sqrt()))
    assert h.root_v == pytest.approx(float(v.mean().sqrt()))
    assert h.ratio == pytest.approx(float((m.abs() / v.sqrt()).max()))
    assert h.update == pytest.approx(float((m / (v.sqrt() + 1e-8)).square().mean().sqrt()))
    assert h.spread == pytest.approx(float(v.sqrt().std(correction=0) / v.sqrt().mean()))
    assert sum(h.shares) == pytest.approx(1, abs=1e-5)


def test_eps_is_advised_so_that_it_leaves_99_percent_alone(tmp_path: Path):
    x = torch.zeros(1000, requires_grad=True)
    optimizer = torch.optim.Adam([x], eps=1e-4)
    x.grad = torch.logspace(-9, -5, 1000)
    optimizer.step()
    found = inspect(saved(optimizer.state_dict(), tmp_path / "opt.pt"))
    assert found.damped == 1
    assert found.eps_advised == 1e-11
    kept = x.grad / (x.grad + found.eps_advised)
    assert (kept >= 0.99).float().mean() >= 0.99


def test_packed_states_are_reported_and_not_guessed(tmp_path: Path):
    held = trained()[1].state_dict()
    codes = {
        "step": 3,
        "state1": torch.ones(80, dtype=torch.uint8),
        "state2": torch.ones(80, dtype=torch.uint8),
    }
    held["state"][0] = codes
    row = next(
        row
        for row in inspect(saved(held, tmp_path / "opt.pt")).rows
        if row.health.name == "0.weight"
    )
    assert row.health.dtype == "uint8"
    assert row.reasons[0].what == "its moments are stored as uint8, which cannot be read"


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.complex64])
def test_moments_of_types_that_are_not_read(dtype: torch.dtype, tmp_path: Path):
    held = trained()[1].state_dict()
    held["state"][0] |= {
        word: held["state"][0][word].to(dtype) for word in ("exp_avg", "exp_avg_sq")
    }
    row = next(
        row
        for row in inspect(saved(held, tmp_path / "opt.pt")).rows
        if row.health.name == "0.weight"
    )
    assert (
        row.reasons[0].what == f"its moments are stored as {str(dtype)[6:]}, which cannot be read"
    )


def test_sick_8_bit_states(tmp_path: Path):
    held = eight_bits()[1].state_dict()
    held["state"][0]["exp_avg_sq_scale"][3] = torch.nan
    (row,) = inspect(saved(held, tmp_path / "opt.pt")).suspicious
    assert row.health.spoiled == 80
