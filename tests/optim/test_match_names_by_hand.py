"""State dicts put in order by name, on groups written by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from betaplane.errors import BadInput
from betaplane.optim.state.match_names import by_name
from betaplane.optim.stochastic_rounding import random_bits
from betaplane.optim.storage_formats import Format


def optimizer_of(*groups: list[str]) -> torch.optim.Optimizer:
    named = [
        {"params": [(name, nn.Parameter(torch.zeros(2))) for name in names]} for names in groups
    ]
    return torch.optim.SGD(named, lr=0.1)


def saved(*groups: dict) -> dict:
    """A state dict whose parameters are numbered in order; a state is its parameter's name."""
    count, found, state = 0, [], {}
    for group in groups:
        ids = list(range(count, count + len(group["param_names"])))
        state |= {i: {"of": name} for i, name in zip(ids, group["param_names"], strict=True)}
        found.append({**group, "params": ids})
        count += len(ids)
    return {"state": state, "param_groups": found}


def test_states_follow_their_names_into_other_groups():
    optimizer = optimizer_of(["c", "a"], ["b"])
    found = by_name(
        optimizer, saved({"param_names": ["a", "b"], "lr": 1.0}, {"param_names": ["c"], "lr": 1.0})
    )
    assert [group["params"] for group in found["param_groups"]] == [[0, 1], [2]]
    assert [group["param_names"] for group in found["param_groups"]] == [["c", "a"], ["b"]]
    assert found["state"] == {0: {"of": "c"}, 1: {"of": "a"}, 2: {"of": "b"}}


def test_a_group_gets_the_options_that_its_sources_agree_on():
    first = {"param_names": ["a"], "lr": 1.0, "eps": 1e-8, "only": 3}
    second = {"param_names": ["b"], "lr": 2.0, "eps": 1e-8, "other": 4}
    (group,) = by_name(optimizer_of(["a", "b"]), saved(first, second))["param_groups"]
    assert group == {"eps": 1e-8, "params": [0, 1], "param_names": ["a", "b"]}
    (alone,) = by_name(optimizer_of(["a"]), saved(first))["param_groups"]
    assert alone["lr"] == 1.0


def test_without_names_on_either_side_places_count():
    named, unnamed = saved({"param_names": ["a"]}), {"state": {}, "param_groups": [{"params": [0]}]}
    assert by_name(optimizer_of(["a"]), unnamed) is unnamed
    assert by_name(torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1), named) is named
    twice = saved({"param_names": ["a"]}, {"param_names": ["a"]})
    assert by_name(optimizer_of(["a"]), twice) is twice
    doubled = saved({"param_names": ["a", "a"]})
    assert by_name(optimizer_of(["a"]), doubled) is doubled
    few = {"state": {}, "param_groups": [{"params": [0, 1], "param_names": ["a"]}]}
    assert by_name(optimizer_of(["a"]), few) is few


@pytest.mark.parametrize(("mine", "theirs"), [(["a", "b"], ["a"]), (["a"], ["a", "b"])])
def test_other_names_are_refused_unless_it_is_not_strict(mine, theirs):
    optimizer = optimizer_of(mine)
    with pytest.raises(BadInput, match="The state dict is for other parameters"):
        by_name(optimizer, saved({"param_names": theirs}))
    found = by_name(optimizer, saved({"param_names": theirs, "lr": 1.0}), strict=False)
    assert found["state"] == {0: {"of": "a"}}
    assert found["param_groups"][0]["params"] == list(range(len(mine)))


def test_the_plain_format_keeps_the_type():
    assert Format().encode(torch.zeros(2, dtype=torch.float64))[0].dtype == torch.float64
    assert (
        Format(torch.float32).encode(torch.zeros(2, dtype=torch.float64))[0].dtype == torch.float32
    )


def test_noise_begins_at_the_first_place_unless_said():
    shape = torch.Size([300])
    assert torch.equal(random_bits(shape, 5), random_bits(shape, 5, 0, 0, 16))
