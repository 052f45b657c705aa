"""Loading a state dict: old and foreign layouts of it, damage, and that a failure leaves everything
as it was.
"""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from tests.optim.test_state_dicts import assert_untouched, frozen, made, step, trained

import betaplane
from betaplane.errors import BadInput
from betaplane.optim.rule_optimizer import optimizer_class
from betaplane.optim.state.labels import LABEL
from betaplane.rules import ALL, Rule

TORCH = ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Adafactor"]
MOMENTS = [rule for rule in ALL if {"t", "m"} <= set(rule().init(torch.zeros(2))._fields)]
NAMES = [rule.__name__ for rule in MOMENTS]


def state_dict_of(name: str, **options) -> dict:
    return copy.deepcopy(trained(getattr(betaplane, name), tuple(options.items())).state_dict())


def fresh(name: str, **options) -> torch.optim.Optimizer:
    optimizer = made(getattr(betaplane, name), options)
    step(optimizer, 9)
    return optimizer


@pytest.mark.parametrize("name", [rule.__name__ for rule in ALL])
def test_saved_groups_name_the_rule_and_what_each_tensor_contains(name: str) -> None:
    (group,) = state_dict_of(name)["param_groups"]
    held = trained(getattr(betaplane, name), ()).state.values()
    assert group[LABEL]["rule"] == name
    tensors = {
        key for state in held for key, value in state.items() if key != "step" and value.dim()
    }
    assert tensors <= set(group[LABEL]["state"])
    assert LABEL not in trained(getattr(betaplane, name), ()).param_groups[0]


def test_the_texts_in_saved_files_stay_as_they_are() -> None:
    texts = {text for rule in ALL for text in rule().contents().values()}
    assert texts == {
        "decaying sum of g",
        "sum of g^2",
        "EMA of g^2",
        "EMA of g",
        "decaying sum of g / root of v",
        "largest EMA of g^2",
        "EMA of the diagonal of the Hessian",
        "EMA of the mean g^2 of a block",
        "slow average of g",
        "EMA of updates",
        "row means of g^2 with beta2 = 1 - t^-power",
        "column means of g^2 with beta2 = 1 - t^-power",
        "g^2 averaged with beta2 = 1 - t^-power",
        "debiased EMA of g",
        "debiased EMA of g^2",
        "EMA of g / root of the v before",
        "EMA of g^2 from the first g^2 on",
        "g^2 approached by steps of (1 - beta2) g^2",
        "EMA of (g - m)^2",
        "EMA of the change of g",
        "EMA of (g + its change)^2",
        "last g",
        "fading maximum of |g|",
        "1 - product of scheduled mu",
        "EMA of g / root of v",
        "EMA of 1",
    }


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.__name__)
def test_contents_name_every_field_of_the_state(rule: type[Rule]) -> None:
    assert set(rule().contents()) == set(rule().init(torch.zeros(2, 2))._fields) - {"t"}
    assert set(rule.optional) <= set(rule().contents())


@pytest.mark.parametrize("name", TORCH)
def test_torchs_class_loads_our_state_dict_and_continues_exactly(name: str) -> None:
    ours = copy.deepcopy(
        trained(getattr(betaplane, name), (("momentum", 0.9),) if name == "SGD" else ())
    )
    theirs = made(getattr(torch.optim, name), {"momentum": 0.9} if name == "SGD" else {})
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    again = made(getattr(betaplane, name), {})
    again.load_state_dict(copy.deepcopy(theirs.state_dict()))
    with torch.no_grad():
        for optimizer in (theirs, again):
            for p, q in zip(
                optimizer.param_groups[0]["params"], ours.param_groups[0]["params"], strict=True
            ):
                p.copy_(q)
    for seed in (5, 6):
        moved = [step(optimizer, seed) for optimizer in (ours, theirs, again)]
        for a, b, c in zip(*moved, strict=True):
            torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-8)
            torch.testing.assert_close(c, a, rtol=1e-5, atol=1e-8)


COUNTS = [
    4,
    4.0,
    np.float64(4),
    np.int64(4),
    torch.tensor(4),
    torch.tensor([4.0]),
    torch.tensor([[4]]),
]


@pytest.mark.parametrize("count", COUNTS, ids=repr)
@pytest.mark.parametrize("name", ["AdamW", "NAdam", "LaProp", "RMSprop"])
def test_step_counts_of_any_kind_are_taken(name: str, count) -> None:
    saved, right = state_dict_of(name), fresh(name)
    right.load_state_dict(state_dict_of(name))
    for state in saved["state"].values():
        state["step"] = count
    optimizer = fresh(name)
    optimizer.load_state_dict(saved)
    for state in optimizer.state.values():
        assert (state["step"].shape, state["step"].is_floating_point(), state["step"].item()) == (
            (),
            True,
            4.0,
        )
    with torch.no_grad():
        for p, q in zip(
            optimizer.param_groups[0]["params"], right.param_groups[0]["params"], strict=True
        ):
            p.copy_(q)
    assert all(torch.equal(a, b) for a, b in zip(step(optimizer, 5), step(right, 5), strict=True))


@pytest.mark.parametrize(
    "count",
    [-1, 2.5, math.nan, math.inf, "4", True, torch.ones(2), torch.tensor(True), [4]],
    ids=repr,
)
def test_what_is_no_count_of_steps_is_refused(count) -> None:
    saved, optimizer = state_dict_of("AdamW"), fresh("AdamW")
    saved["state"][1]["step"] = count
    before = frozen(optimizer)
    with pytest.raises(BadInput, match="step"):
        optimizer.load_state_dict(saved)
    assert_untouched(optimizer, before)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_without_its_step_count_is_refused(name: str) -> None:
    saved, optimizer = state_dict_of(name), fresh(name)
    for state in saved["state"].values():
        del state["step"]
    before = frozen(optimizer)
    with pytest.raises(BadInput, match="The state lacks step"):
        optimizer.load_state_dict(saved)
    assert_untouched(optimizer, before)


def test_a_step_count_in_the_group_is_taken_into_the_states() -> None:
    saved, optimizer = state_dict_of("AdamW"), fresh("AdamW")  # as apex and Megatron save it
    for state in saved["state"].values():
        del state["step"]
    del saved["param_groups"][0][LABEL]
    saved["param_groups"][0]["step"] = torch.tensor(4)
    optimizer.load_state_dict(saved)
    step(optimizer, 5)
    assert [state["step"].item() for state in optimizer.state.values()] == [5.0, 5.0]
    assert "step" not in optimizer.param_groups[0]


def test_sgd_takes_torchs_buffer_without_a_count_and_dampens_the_next_gradient() -> None:
    options = {"momentum": 0.9, "dampening": 0.5}
    theirs = made(torch.optim.SGD, options)
    for seed in range(3):
        step(theirs, seed)
    ours = made(betaplane.SGD, {**options, "path": "compiled", "average": 0.9})
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    for a, b in zip(step(ours, 5), step(theirs, 5), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_adagrad_starts_a_parameter_without_state_as_its_constructor_does() -> None:
    optimizer, other = (
        made(betaplane.Adagrad, {"initial_accumulator_value": 0.5}) for _ in range(2)
    )
    saved = optimizer.state_dict()
    optimizer.load_state_dict({**saved, "state": {}})
    assert all(torch.equal(a, b) for a, b in zip(step(optimizer, 5), step(other, 5), strict=True))


def test_torchs_amsgrad_switched_off_during_the_run_loads() -> None:
    for kind in (torch.optim.Adam, betaplane.Adam):
        one = copy.deepcopy(trained(kind, (("amsgrad", True),)))
        one.param_groups[0]["amsgrad"] = False
        step(one, 5)
        optimizer = fresh("Adam")
        optimizer.load_state_dict(copy.deepcopy(one.state_dict()))
        assert optimizer.param_groups[0]["amsgrad"] is False


@pytest.mark.parametrize(
    "kind", [one for one in ALL if one.__name__ in ("RMSprop", "SGD", "Adagrad", "Adamax")]
)
def test_the_same_tensors_load_under_other_keys(kind: type[Rule]) -> None:
    options = {"momentum": 0.9} if kind.__name__ == "SGD" else {}
    plain = made(optimizer_class(kind), options)
    step(plain, 1)
    ours = made(getattr(betaplane, kind.__name__), options)
    ours.load_state_dict(copy.deepcopy(plain.state_dict()))
    with torch.no_grad():
        for p, q in zip(
            ours.param_groups[0]["params"], plain.param_groups[0]["params"], strict=True
        ):
            p.copy_(q)
    for a, b in zip(step(ours, 5), step(plain, 5), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)


def changed(**changes):
    """A state dict of AdamW with changes to its second parameter's state; None drops a key."""

    def change(saved: dict) -> None:
        held = saved["state"][1]
        held.update(changes)
        saved["state"][1] = {key: value for key, value in held.items() if value is not None}

    return change


def label(value):
    return lambda saved: saved["param_groups"][0].update({LABEL: value})


def group(**changes):
    return lambda saved: saved["param_groups"][0].update(changes)


CODES = torch.ones(5, dtype=torch.uint8)
BELIEF = {"rule": "AdaBelief", "state": {"exp_avg": "EMA of g", "exp_avg_sq": "EMA of (g - m)^2"}}
DAMAGE = [
    (changed(exp_avg=None), "lacks exp_avg"),
    (changed(exp_avg_sq={}), "lacks exp_avg_sq"),
    (
        changed(exp_avg_sq=-torch.ones(5)),
        "exp_avg_sq of parameter 1 of AdamW has negative elements: got 5",
    ),
    (changed(exp_avg=torch.ones(4)), "another shape"),
    (changed(exp_avg=torch.tensor(1.0)), "another shape"),
    (changed(exp_avg=torch.ones(5, dtype=torch.int64)), "another dtype"),
    (changed(exp_avg=torch.ones(5, dtype=torch.bool)), "another dtype"),
    (changed(exp_avg=torch.ones(5, dtype=torch.complex64)), "another dtype"),
    (changed(exp_avg=CODES), "another dtype"),
    (changed(exp_avg=[1.0] * 5), "not a tensor"),
    (changed(exp_avg_scale=torch.ones(1)), "another dtype"),
    (
        changed(exp_avg=torch.ones(5, dtype=torch.uint8), exp_avg_scale=torch.ones(3, 3)),
        "exp_avg_scale has another shape",
    ),
    (changed(exp_avg_var=torch.ones(5)), "another rule's"),
    (changed(average=torch.ones(3)), "average has another shape"),
    (lambda saved: saved["state"].update({1: [1.0]}), "not a dict"),
    (lambda saved: saved.pop("state"), "no state dict"),
    (lambda saved: saved.update(param_groups=None), "no state dict"),
    (lambda saved: saved["param_groups"].append({"params": [7]}), "other groups"),
    (lambda saved: saved["param_groups"][0].pop("params"), "no state dict"),
    (lambda saved: saved["param_groups"][0]["params"].append(7), "other groups"),
    (label(7), "damaged"),
    (label({"rule": "AdamW"}), "damaged"),
    (label(BELIEF), "another rule's"),
    (group(lr=None), "lr in the state dict"),
    (group(lr="0.1"), "lr in the state dict"),
    (group(betas=0.9), "betas do not fit"),
    (group(betas=("a", "b")), "not a number"),
    (group(eps=None), "not a number"),
    (group(debias="schedule"), "another rule's"),
]


@pytest.mark.parametrize(("damage", "text"), DAMAGE)
def test_a_damaged_state_dict_is_refused_with_a_sentence(damage, text: str) -> None:
    saved, optimizer = state_dict_of("AdamW"), fresh("AdamW")
    damage(saved)
    before = frozen(optimizer)
    with pytest.raises(BadInput, match=text):
        optimizer.load_state_dict(saved)
    assert_untouched(optimizer, before)


@pytest.mark.parametrize("given", [None, [], "opt.pt", 3, {}], ids=repr)
def test_what_is_no_state_dict_is_refused(given) -> None:
    with pytest.raises(BadInput, match="no state dict"):
        fresh("AdamW").load_state_dict(given)


@pytest.mark.parametrize("place", ["pre", "post"])
def test_an_error_in_a_users_hook_leaves_the_optimizer_as_it_was(place: str) -> None:
    optimizer = fresh("LaProp")

    def fails(*_) -> None:
        raise KeyError(place)

    getattr(optimizer, f"register_load_state_dict_{place}_hook")(fails)
    before = frozen(optimizer)
    with pytest.raises(KeyError, match=place):
        optimizer.load_state_dict(state_dict_of("LaProp"))
    assert_untouched(optimizer, before)


@pytest.mark.parametrize("name", ["AdamW", "AdaBelief", "SGD"])
def test_copies_pickles_and_schedulers_load_what_an_optimizer_saved(name: str) -> None:
    optimizer = fresh(name)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    optimizer.step()
    scheduler.step()
    for copied in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        copied.load_state_dict(optimizer.state_dict())
        assert copied.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"] == 5e-3
        assert str(copied.state_dict()) == str(optimizer.state_dict())


def test_a_rule_without_declared_contents_loads_into_itself_alone() -> None:
    class Mine(betaplane.rules.Lion):
        holds = {}

    mine, other = (made(optimizer_class(kind), {}) for kind in (Mine, betaplane.rules.Lion))
    step(mine, 1)
    made(optimizer_class(Mine), {}).load_state_dict(mine.state_dict())
    with pytest.raises(BadInput, match="Mine: exp_avg = m of Mine"):
        other.load_state_dict(mine.state_dict())
