"""Whose state a saved group is, by its label or by its keys and options, and what else a group says."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import betaplane
from betaplane import rules
from betaplane.errors import BadInput
from betaplane.optim.state.labels import LABEL, matched_keys, saved_contents
from betaplane.optim.state.load import check_layout

M, V = "EMA of g", "EMA of g^2"

IDENTIFIED = [  # options of the group, state keys; the rule
    ({}, [], ""),
    ({}, ["step"], ""),
    ({}, ["exp_avg", "exp_avg_sq"], "Adam"),
    ({}, ["exp_avg"], "Lion"),
    ({}, ["exp_avg_sq"], ""),
    ({}, ["momentum_buffer"], "SGD"),
    ({}, ["square_avg"], "RMSprop"),
    ({}, ["square_avg", "momentum_buffer"], "RMSprop"),
    ({}, ["sum"], "Adagrad"),
    ({}, ["exp_avg", "exp_inf"], "Adamax"),
    ({}, ["exp_avg", "exp_avg_sq", "mu_product"], "NAdam"),
    ({"momentum_decay": 0.0}, ["exp_avg", "exp_avg_sq"], "NAdam"),
    ({}, ["row_var", "col_var"], "Adafactor"),
    ({"rectify": False}, ["exp_avg", "exp_avg_sq"], "AdaBelief"),
    ({"clip_exp": 0.25}, ["exp_avg", "exp_avg_sq"], "ADOPT"),
    ({"lr_at": "m"}, ["exp_avg", "exp_avg_sq"], "LaProp"),
    ({}, ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"], "AMSGrad"),
    ({"amsgrad": True}, ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"], "AMSGrad"),
    ({"amsgrad": False}, ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"], "Adam"),
]


@pytest.mark.parametrize(("group", "keys", "rule"), IDENTIFIED, ids=str)
def test_a_group_without_label_is_identified_by_its_state_keys_and_options(group, keys, rule):
    found, contents = saved_contents(group, keys, "opt")
    assert (found, bool(contents)) == (rule, bool(rule))


def test_contents_are_under_the_keys_that_the_state_has():
    torch_keys = saved_contents({}, ["square_avg"], "opt")[1]
    assert torch_keys["square_avg"] == V
    assert saved_contents({}, ["exp_avg", "exp_avg_sq"], "opt")[1] == {
        "exp_avg": M,
        "exp_avg_sq": V,
    }
    nadam = saved_contents({}, ["exp_avg", "exp_avg_sq", "mu_product"], "opt")[1]
    assert not nadam["mu_product"].startswith("1 - ")
    assert {"exp_avg", "exp_avg_sq", "mu_product"} <= nadam.keys()


def test_a_label_says_what_the_state_contains():
    texts = {"exp_avg": M, "exp_avg_sq": V}
    assert saved_contents({LABEL: {"rule": "Yogi", "state": texts}}, [], "opt") == ("Yogi", texts)
    assert saved_contents({LABEL: {"state": texts}}, ["sum"], "opt") == ("", texts)
    assert saved_contents({LABEL: {"state": {}}}, [], "opt") == ("", {})


@pytest.mark.parametrize(
    "label",
    [None, 7, "Adam", {}, {"state": None}, {"state": [M]}, {"state": {1: M}}, {"state": {"m": 1}},
     {"state": {"m": M, "v": 1}}, {"state": {"m": M, 2: V}}],
    ids=repr,
)  # fmt: skip
def test_a_damaged_label_is_refused(label):
    with pytest.raises(BadInput, match="betaplane in the state dict is damaged"):
        saved_contents({LABEL: label}, ["exp_avg"], "opt")


def test_keys_are_matched_by_what_the_tensors_contain():
    wanted = {"exp_avg": M, "exp_avg_sq": V}
    assert matched_keys(("Adam", wanted), wanted, "opt") == {}
    assert matched_keys(("", {}), wanted, "opt") == {}
    assert matched_keys(("Adam", {"v": V, "m": M}), wanted, "opt") == {
        "m": "exp_avg",
        "v": "exp_avg_sq",
    }
    for other in ({"m": M}, {"m": M, "v": "max of |g|"}, {"m": M, "v": V, "b": "EMA of g^3"}):
        with pytest.raises(BadInput) as raised:
            matched_keys(("Other", other), wanted, "opt")
        text = ", ".join(f"{key} = {value}" for key, value in other.items())
        assert f"another rule's: got 'Other: {text}'" in str(raised.value)
        assert "expected exp_avg = EMA of g, exp_avg_sq = EMA of g^2 (opt)" in str(raised.value)


GROUP = {"params": [0], "lr": 0.1}
LAYOUTS = [
    ({"state": {}, "param_groups": [GROUP]}, True),
    ({"state": {}, "param_groups": ({"params": (0,)}, GROUP)}, True),
    ({"state": {}, "param_groups": []}, True),
    ({"state": {}, "param_groups": [GROUP, {}]}, False),
    ({"state": {}, "param_groups": [{"params": 0}, GROUP]}, False),
    ({"state": {}, "param_groups": [GROUP, 3]}, False),
    ({"state": {}, "param_groups": GROUP}, False),
    ({"state": [], "param_groups": [GROUP]}, False),
    ({"param_groups": [GROUP]}, False),
    ([GROUP], False),
]


@pytest.mark.parametrize(("given", "fits"), LAYOUTS, ids=str)
def test_a_state_dict_has_a_state_and_groups_with_parameters(given, fits):
    if fits:
        check_layout(given, "opt")
        return
    with pytest.raises(BadInput, match="no state dict of an optimizer"):
        check_layout(given, "opt")


def test_what_is_no_state_dict_is_named_by_its_keys_or_its_type():
    with pytest.raises(BadInput, match=r"got \['1', 'a', 'b'\]; expected what"):
        check_layout({"b": 1, "a": 2, 1: 3}, "opt")
    with pytest.raises(BadInput, match="got 'list'"):
        check_layout([], "opt")


# counts in groups


def saved_pair(**group) -> tuple[torch.optim.Optimizer, dict]:
    """An optimizer of two parameters after three steps, and what torch's class saved of it."""
    params = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    theirs = torch.optim.AdamW(params, lr=0.1)
    for _ in range(3):
        for p in params:
            p.grad = torch.ones(2)
        theirs.step()
    saved = copy.deepcopy(theirs.state_dict())
    saved["param_groups"][0].update(group)
    return betaplane.AdamW([nn.Parameter(torch.ones(2)) for _ in range(2)], lr=0.1), saved


def counts(optimizer: torch.optim.Optimizer) -> list[float]:
    return [float(state["step"]) for state in optimizer.state.values()]


def test_a_states_own_count_goes_before_that_of_its_group():
    optimizer, saved = saved_pair(step=8)
    del saved["state"][1]["step"]
    optimizer.load_state_dict(saved)
    assert counts(optimizer) == [3.0, 8.0]
    assert "step" not in optimizer.param_groups[0]


def test_a_groups_count_is_taken_out_of_it_if_one_parameter_has_no_state():
    optimizer, saved = saved_pair(step=8)
    del saved["state"][0]["step"], saved["state"][1]
    optimizer.load_state_dict(saved)
    assert counts(optimizer) == [8.0]
    assert "step" not in optimizer.param_groups[0]


def test_a_users_own_key_named_step_stays_if_every_state_counts():
    optimizer, saved = saved_pair(step=8, mine="x")
    optimizer.load_state_dict(saved)
    assert counts(optimizer) == [3.0, 3.0]
    assert (optimizer.param_groups[0]["step"], optimizer.param_groups[0]["mine"]) == (8, "x")


def test_a_parameter_with_an_empty_state_has_none_whatever_its_group_counts():
    optimizer, saved = saved_pair(step=8)
    del saved["state"][0]["step"]
    saved["state"][1] = {}
    optimizer.load_state_dict(saved)
    assert counts(optimizer) == [8.0]


def test_negative_second_moments_of_complex_parameters_are_refused():
    def made() -> torch.optim.Optimizer:
        return betaplane.AdamW([nn.Parameter(torch.ones(2, dtype=torch.complex64))], lr=0.1)

    optimizer = made()
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2, dtype=torch.complex64)
    optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())
    made().load_state_dict(copy.deepcopy(saved))
    v = saved["state"][0]["exp_avg_sq"]
    pairs = torch.view_as_real(v) if v.is_complex() else v
    pairs[0, 1] = -1.0
    for moment in (pairs, torch.view_as_complex(pairs)):
        saved["state"][0]["exp_avg_sq"] = moment
        with pytest.raises(BadInput, match="has negative elements: got 1"):
            made().load_state_dict(copy.deepcopy(saved))


def test_a_state_without_storage_keeps_its_dtype():
    """As torch saves it, without the key; float32 moments of a bfloat16 parameter stay float32."""
    optimizer, saved = saved_pair()
    narrow = betaplane.AdamW(
        [nn.Parameter(torch.ones(2, dtype=torch.bfloat16)) for _ in range(2)], lr=0.1
    )
    narrow.load_state_dict(saved)
    assert {state["exp_avg"].dtype for state in narrow.state.values()} == {torch.float32}
    optimizer.load_state_dict(saved)
    assert {state["exp_avg"].dtype for state in optimizer.state.values()} == {torch.float32}


def test_every_rule_is_identified_by_the_state_it_saves():
    """Or not at all; never as a rule whose state contains something else."""
    for kind in rules.ALL:
        optimizer = getattr(betaplane, kind.__name__)([nn.Parameter(torch.ones(2, 3))], lr=0.1)
        optimizer.param_groups[0]["params"][0].grad = torch.ones(2, 3)
        optimizer.step()
        [group] = optimizer.state_dict()["param_groups"]
        label = group.pop(LABEL)
        keys = optimizer.state_dict()["state"].get(0, {}).keys()
        found, contents = saved_contents(group, keys, "opt")
        if found:
            assert sorted(contents.values()) == sorted(label["state"].values())
