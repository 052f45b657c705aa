"""A layer is shown under a name only if the file proves it; every other layer keeps its number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import saved
from torch import nn

from betaplane.checkpoints import inspect, read_checkpoint
from betaplane.checkpoints.naming import AMBIGUOUS, UNNAMED


def stepped(*groups: Any) -> dict[str, Any]:
    """The state dict of an AdamW after a step of lr = 0 in which each tensor's gradient is its own
    number.
    """
    optimizer = torch.optim.AdamW(groups[0] if len(groups) == 1 else list(groups), lr=0.0)
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = torch.full_like(p, float(p.detach().flatten()[0]))
    optimizer.step()
    return optimizer.state_dict()


def numbered(*layers: nn.Module) -> nn.Sequential:
    """A model whose tensor number i is filled with i + 1."""
    model = nn.Sequential(*layers)
    for i, p in enumerate(model.parameters()):
        nn.init.constant_(p, i + 1.0)
    return model


def shown(held: Any, folder: Path) -> dict[str, float]:
    """Of each layer by its name the gradient that it had."""
    layers = read_checkpoint(saved(held, folder / "checkpoint.pt")).layers
    return {layer.name: round(10 * float(layer.m.flatten()[0]), 3) for layer in layers}


def true(model: nn.Module) -> dict[str, float]:
    return {name: float(p.detach().flatten()[0]) for name, p in model.named_parameters()}


def test_groups_in_another_order_keep_numbers(tmp_path: Path):
    model = numbered(*(nn.Linear(8, 8) for _ in range(3)))
    held = stepped(*({"params": model[i].parameters()} for i in (2, 1, 0)))
    found = shown({"model": model.state_dict(), "optimizer": held}, tmp_path)
    assert list(found) == [f"parameter {i}" for i in range(6)]
    assert inspect(tmp_path / "checkpoint.pt").notes == (AMBIGUOUS,)


def test_one_group_in_another_order_keeps_numbers(tmp_path: Path):
    model = numbered(*(nn.Linear(8, 8) for _ in range(3)))
    held = stepped([p for layer in reversed(model) for p in layer.parameters()])
    assert set(shown({"model": model.state_dict(), "optimizer": held}, tmp_path)) == {
        f"parameter {i}" for i in range(6)
    }


def test_shapes_that_occur_once_name_a_layer_in_any_order(tmp_path: Path):
    model = numbered(nn.Linear(8, 5), nn.Linear(5, 5), nn.Linear(5, 2))
    decayed = [p for p in model.parameters() if p.dim() > 1][::-1]
    held = stepped({"params": [p for p in model.parameters() if p.dim() == 1]}, {"params": decayed})
    found = shown({"net": model.state_dict(), "states": {"adam": held}}, tmp_path)
    names = [name for name in found if not name.startswith("parameter")]
    assert names == ["2.bias", "2.weight", "1.weight", "0.weight"]
    assert all(found[name] == true(model)[name] for name in names)


def test_frozen_layers_shift_no_name(tmp_path: Path):
    model = numbered(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3))
    held = stepped([*model[1].parameters(), *model[2].parameters()])
    found = shown({"model": model.state_dict(), "optimizer": held}, tmp_path)
    assert list(found) == ["parameter 0", "parameter 1", "2.weight", "2.bias"]
    assert found["2.weight"] == true(model)["2.weight"]


def test_names_in_the_groups_are_taken(tmp_path: Path):
    model = numbered(*(nn.Linear(4, 4) for _ in range(2)))
    pairs = list(model.named_parameters())[::-1]
    assert shown({"model": model.state_dict(), "optimizer": stepped(pairs)}, tmp_path) == true(
        model
    )
    assert inspect(tmp_path / "checkpoint.pt").notes == ()


def test_keys_that_are_names_are_taken(tmp_path: Path):
    model = numbered(*(nn.Linear(4, 4) for _ in range(2)))
    held, names = stepped(list(model.parameters())), [name for name, _ in model.named_parameters()]
    held["state"] = {names[i]: state for i, state in held["state"].items()}
    held["param_groups"][0]["params"] = names
    assert shown(held, tmp_path) == true(model)


def test_two_optimizers_are_kept_apart(tmp_path: Path):
    models = {"G": numbered(nn.Linear(3, 4)), "D": numbered(nn.Linear(5, 6))}
    held = {name: model.state_dict() for name, model in models.items()}
    states = [stepped(list(model.parameters())) for model in models.values()]
    found = shown({**held, "optimizer_states": states}, tmp_path)
    assert len(found) == 4
    assert set(found) == {
        f"optimizer_states.{i}: 0.{name}" for i in (0, 1) for name in ("weight", "bias")
    }
    assert set(shown({"optimizer_states": states}, tmp_path)) == {
        f"optimizer_states.{i}: parameter {j}" for i in (0, 1) for j in (0, 1)
    }
    assert inspect(tmp_path / "checkpoint.pt").notes == (UNNAMED,)


def test_two_models_of_other_names_prove_nothing(tmp_path: Path):
    model = numbered(nn.Linear(3, 4))
    other = {f"critic.{name}": x for name, x in model.state_dict().items()}
    twin = {name.replace("0.", "7."): x.clone() for name, x in model.state_dict().items()}
    held = stepped(list(model.parameters()))
    assert set(shown({"model": model.state_dict(), "more": twin, "optimizer": held}, tmp_path)) == {
        "parameter 0", "parameter 1"
    }  # fmt: skip
    assert shown(
        {"model": model.state_dict(), "average": other, "optimizer": held}, tmp_path
    ) == true(model)


def test_tied_tensors_are_one_parameter(tmp_path: Path):
    model = numbered(nn.Embedding(9, 4), nn.Linear(4, 9))
    model[1].weight = model[0].weight
    found = shown(
        {"model": model.state_dict(), "optimizer": stepped(list(model.parameters()))}, tmp_path
    )
    assert found == {"0.weight": 1.0, "1.bias": 3.0}


def test_buffers_have_no_moments(tmp_path: Path):
    model = numbered(nn.BatchNorm1d(7, affine=True), nn.Linear(7, 2))
    found = shown(
        {"model": model.state_dict(), "optimizer": stepped(list(model.parameters()))}, tmp_path
    )
    assert list(found) == ["parameter 0", "parameter 1", "1.weight", "1.bias"]


def test_a_parameter_list_has_numbers_for_names(tmp_path: Path):
    model = nn.ParameterList([torch.ones(3), 2 * torch.ones(3)])
    assert shown(stepped(list(model.named_parameters())), tmp_path) == {"0": 1.0, "1": 2.0}


@pytest.mark.parametrize("names", [["a", "a", "b", "c"], [None] * 4, ["a"], [["a"]] * 4, "abcd"])
def test_names_that_are_none_name_nothing(names: Any, tmp_path: Path):
    held = stepped(list(numbered(nn.Linear(2, 2), nn.Linear(2, 2)).parameters()))
    held["param_groups"][0]["param_names"] = names
    assert shown(held, tmp_path) == {f"parameter {i}": i + 1.0 for i in range(4)}


def test_settings_as_numbers_of_numpy(tmp_path: Path):
    held = stepped(list(numbered(nn.Linear(2, 2)).named_parameters()))
    held["param_groups"][0] |= {"lr": np.float64(0.25), "eps": np.float32(0.5)}
    assert read_checkpoint(saved(held, tmp_path / "opt.pt")).layers[0].settings[:4] == (
        0.25,
        0.9,
        0.999,
        0.5,
    )
