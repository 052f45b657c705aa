"""The count of steps is read where each library keeps it; what needs a count that is nowhere is
unknown.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import saved
from torch import nn

from betaplane.advice.measurements import read_checkpoint as advised
from betaplane.checkpoints import inspect
from betaplane.checkpoints.checkpoint import UNCOUNTED

STEPS = 20


def constant(kind: Any = torch.optim.AdamW, steps: int = STEPS, **options: Any) -> dict[str, Any]:
    """The state dict after some steps with a gradient of 1 everywhere."""
    p = nn.Parameter(torch.ones(16, 16))
    optimizer = kind([p], **options)
    for _ in range(steps):
        p.grad = torch.ones_like(p)
        optimizer.step()
    return optimizer.state_dict()


def moved(held: dict[str, Any], step: Any) -> dict[str, Any]:
    """The state dict with the count in the group, as apex, Megatron and Transformer Engine keep it."""
    del held["state"][0]["step"]
    held["param_groups"][0]["step"] = step
    return held


def health(held: Any, folder: Path, **options: Any) -> Any:
    return inspect(saved(held, folder / "opt.pt"), **options).rows[0].health


@pytest.mark.parametrize(
    "step", [STEPS, float(STEPS), torch.tensor(STEPS), torch.tensor([20], dtype=torch.int32)]
)
def test_a_count_in_the_group_is_read(step: Any, tmp_path: Path):
    found = health(moved(constant(), step), tmp_path)
    assert found.t == STEPS
    assert found.root_v == pytest.approx(1, rel=1e-5)
    assert found.update == pytest.approx(1, rel=1e-5)


def test_groups_count_for_themselves(tmp_path: Path):
    held = moved(constant(), STEPS)
    held["state"][1] = held["state"][0]
    held["param_groups"].append({**held["param_groups"][0], "params": [1], "step": 2 * STEPS})
    assert [row.health.t for row in inspect(saved(held, tmp_path / "opt.pt")).rows[::-1]] == [
        2 * STEPS,
        STEPS,
    ]


@pytest.mark.parametrize(
    "held", [moved(constant(), None), moved(constant(), 3) | {"param_groups": []}]
)
def test_what_needs_a_count_that_is_nowhere_is_unknown(held: dict[str, Any], tmp_path: Path):
    found = inspect(saved(held, tmp_path / "opt.pt"), trained=(0.9, 0.999), eps=1e-8)
    h = found.rows[0].health
    assert all(
        math.isnan(x) for x in (h.t, h.root_v, h.ratio, h.bound, h.damped, h.update, h.uneven)
    )
    assert h.shares == ()
    assert h.m_rms == pytest.approx(1 - 0.9**STEPS, rel=1e-4)
    assert (h.zero, h.lost, h.spread) == (0, 0, pytest.approx(0, abs=1e-6))
    assert UNCOUNTED in found.notes
    assert not found.suspicious
    assert math.isnan(found.damped)
    assert math.isnan(found.horizons[0].t)


def test_unknown_betas_leave_the_correction_unknown(tmp_path: Path):
    held = constant()
    del held["param_groups"][0]["betas"]
    assert math.isnan(health(held, tmp_path).root_v)
    assert health(held, tmp_path, trained=(0.9, 0.999)).root_v == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("word", ["bias_correction", "correct_bias"])
def test_moments_that_are_not_corrected_are_taken_as_they_are(word: str, tmp_path: Path):
    held = constant()
    held["param_groups"][0][word] = False
    found = inspect(saved(held, tmp_path / "opt.pt"))
    h, m, v = found.rows[0].health, 1 - 0.9**STEPS, 1 - 0.999**STEPS
    assert h.root_v == pytest.approx(v**0.5, rel=1e-5)
    assert h.update == pytest.approx(m / v**0.5, rel=1e-5)
    assert h.ratio <= h.bound
    assert not found.suspicious


def test_amsgrad_divides_by_the_largest_v(tmp_path: Path):
    held = constant(amsgrad=True)
    held["state"][0]["max_exp_avg_sq"] *= 4
    assert health(held, tmp_path).update == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("kind", [torch.optim.RAdam, torch.optim.NAdam])
def test_updates_of_relatives_are_unknown(kind: Any, tmp_path: Path):
    h = health(constant(kind), tmp_path)
    assert h.root_v == pytest.approx(1, rel=1e-5)
    assert all(math.isnan(x) for x in (h.update, h.ratio, h.bound))


def test_a_first_moment_alone_is_read(tmp_path: Path):
    held = constant()
    del held["state"][0]["exp_avg_sq"]
    h = health(held, tmp_path)
    assert h.m_rms == pytest.approx(1 - 0.9**STEPS, rel=1e-4)
    assert all(math.isnan(x) for x in (h.root_v, h.zero, h.ratio, h.update))


def test_advice_from_a_checkpoint_without_a_count_leaves_eps_alone(tmp_path: Path):
    from betaplane.advice import advise

    path = saved(moved(constant(eps=1e-6), None), tmp_path / "opt.pt")
    assert math.isnan(advised(path).damped)
    row = next(row for row in advise(batch_size=32, checkpoint=path).rows if row.name == "eps")
    assert row.value == 1e-6
    assert "unknown" in row.reason
