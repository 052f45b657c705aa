"""Reasons to suspect all layers of an optimizer, on trained states with one planted fault each."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import eight_bits, saved, trained

from betaplane.checkpoints import inspect
from betaplane.checkpoints.health import health
from betaplane.checkpoints.layer import GroupSettings, Layer
from betaplane.checkpoints.pooled import pooled_suspicions

StateDict = dict[str, Any]


def severe_rules(held: StateDict, folder: Path) -> set[str]:
    """The rule ids of all severe reasons."""
    inspection = inspect(saved(held, folder / "checkpoint.pt"))
    rows = [reason for row in inspection.rows for reason in row.reasons]
    reasons = [*rows, *(finding.reason for finding in inspection.findings)]
    return {reason.rule for reason in reasons if reason.severe}


def each(change: Callable[[StateDict], None]) -> Callable[[StateDict], None]:
    def plant(held: StateDict) -> None:
        for state in held["state"].values():
            change(state)

    return plant


def count_ahead(state: StateDict) -> None:
    state["step"].fill_(100_000)


def lose_v(state: StateDict) -> None:
    state["exp_avg_sq"].zero_()


def lose_m(state: StateDict) -> None:
    state["exp_avg"].zero_()


def never_reached(state: StateDict) -> None:
    lose_v(state)
    lose_m(state)


def other_gradients_in_v(state: StateDict) -> None:
    state["exp_avg_sq"] += 1e4 * torch.rand_like(state["exp_avg_sq"])
    state["step"].fill_(300)


def one_giant_gradient(state: StateDict) -> None:
    """20 steps ago."""
    g = 1e4 * torch.randn_like(state["exp_avg"])
    state["exp_avg"] += 0.1 * 0.9**20 * g
    state["exp_avg_sq"] += 1e-3 * 0.999**20 * g.square()
    state["step"].fill_(1000)


def narrow_count(state: StateDict) -> None:
    state["step"] = torch.tensor(256.0, dtype=torch.bfloat16)


def another_shape(state: StateDict) -> None:
    state["exp_avg_sq"] = state["exp_avg_sq"][:1]


def group(**settings: Any) -> Callable[[StateDict], None]:
    def plant(held: StateDict) -> None:
        held["param_groups"][0].update(settings)

    return plant


PLANTED = [
    (each(count_ahead), "above-steady"),
    (each(lose_v), "lost-v"),
    (each(lose_m), "lost-m"),
    (each(never_reached), "no-gradient"),
    (each(other_gradients_in_v), "stale-v"),
    (each(one_giant_gradient), "one-gradient"),
    (each(narrow_count), "step-stuck"),
    (each(another_shape), "shape"),
    (group(betas=(0.95, 0.85)), "betas"),
    (group(lr=math.nan), "setting"),
    (group(lr=-1e-3), "setting"),
    (group(lr=0.5, weight_decay=10.0), "setting"),
]


@pytest.mark.parametrize(("plant", "rule"), PLANTED)
def test_a_fault_of_all_layers_is_named(
    plant: Callable[[StateDict], None], rule: str, tmp_path: Path
):
    held = trained()[1].state_dict()
    assert severe_rules(held, tmp_path) == set()
    plant(held)
    assert rule in severe_rules(held, tmp_path)


def test_largest_v_of_amsgrad_is_at_least_v(tmp_path: Path):
    held = trained(amsgrad=True)[1].state_dict()
    assert severe_rules(held, tmp_path) == set()
    held["state"][0]["max_exp_avg_sq"] *= 0.5
    assert severe_rules(held, tmp_path) == {"inconsistent-max"}


def test_lost_blocks_in_8_bits_are_lost_and_small_elements_are_not(tmp_path: Path):
    held = eight_bits()[1].state_dict()
    assert severe_rules(held, tmp_path) == set()
    held["state"][0]["exp_avg_sq_scale"][3:] = 0
    assert severe_rules(held, tmp_path) == {"lost-v"}


def test_underflow_is_not_called_lost(tmp_path: Path):
    held = trained()[1].state_dict()
    held["state"][0]["exp_avg"][0, 0] = 1e-24
    held["state"][0]["exp_avg_sq"][0, 0] = 0
    assert severe_rules(held, tmp_path) == {"underflow"}


def test_gradients_that_are_rounding_errors_are_no_fault_of_eps(tmp_path: Path):
    held = trained()[1].state_dict()
    for key, factor in (("exp_avg", 1e-8), ("exp_avg_sq", 1e-16)):
        held["state"][1][key] *= factor  # a bias, as those of keys under softmax
    assert severe_rules(held, tmp_path) == set()
    for key, factor in (("exp_avg", 1e-8), ("exp_avg_sq", 1e-16)):
        held["state"][0][key] *= factor  # a matrix
    assert severe_rules(held, tmp_path) == {"below-eps"}


def test_one_count_that_is_ahead_is_named_with_its_layer(tmp_path: Path):
    held = trained()[1].state_dict()
    held["state"][1]["step"].fill_(5000)
    findings = inspect(saved(held, tmp_path / "checkpoint.pt")).findings
    assert [(x.reason.rule, x.reason.what.split(":")[0]) for x in findings] == [
        ("above-steady", "0.bias")
    ]


def test_weights_beside_the_moments_are_checked(tmp_path: Path):
    model, optimizer = trained()
    held = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    assert severe_rules(held, tmp_path) == set()
    held["model"]["0.weight"][0, 0] = math.inf
    assert severe_rules(held, tmp_path) == {"weights-not-finite"}
    other = {"model": trained(width=70)[0].state_dict(), "optimizer": optimizer.state_dict()}
    assert severe_rules(other, tmp_path) == {"shape"}
    for param_group in other["optimizer"]["param_groups"]:
        del param_group["param_names"]
    assert severe_rules(other, tmp_path) == {"shape"}


@pytest.mark.parametrize("steps", [1, 2, 5, 12, 20, 30, 1000])
def test_noise_and_steady_gradients_of_any_length_are_healthy(steps: int):
    """The moments of independent gradients, and of constant ones, from their definitions."""
    torch.manual_seed(steps)
    g = torch.randn(steps, 500, dtype=torch.float64)
    age = torch.arange(steps - 1, -1, -1, dtype=torch.float64)
    for gradients in (g, torch.ones_like(g), g + 0.5, g + 1, g + 1.5, g + 2):
        state = {
            "step": steps,
            "exp_avg": 0.1 * (0.9**age @ gradients),
            "exp_avg_sq": 1e-3 * (0.999**age @ gradients.square()),
        }
        layer = Layer("x", state, GroupSettings(1e-3, 0.9, 0.999, 1e-8))
        assert pooled_suspicions([layer], [health(layer)]) == []
