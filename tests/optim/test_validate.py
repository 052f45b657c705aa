"""One saved state against what its parameter needs: each key, shape, dtype and number by itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import betaplane
from betaplane.errors import BadInput
from betaplane.optim.state.match_names import by_name
from betaplane.optim.state.validate import (
    check_signs,
    checked_state,
    expected_state,
    step_count,
)

M, V = torch.ones(2, 3), torch.full((2, 3), 2.0)
GOOD = {"step": torch.tensor(4.0), "exp_avg": M, "exp_avg_sq": V}


def expected(p: Tensor, **options):
    optimizer = betaplane.AdamW([p], **options)
    rule = optimizer.rule_of(optimizer.param_groups[0])
    return expected_state(optimizer, rule, p, optimizer.state_keys)


def checked(state, p: Tensor | None = None, **options):
    p = nn.Parameter(torch.zeros(2, 3)) if p is None else p
    return checked_state(state, expected(p, **options), p, "p")


def test_expected_state_of_adamw() -> None:
    found = expected(nn.Parameter(torch.zeros(2, 3)))
    assert {"exp_avg", "exp_avg_sq", "step"} == found.needed
    assert {key: tuple(found.tensors[key].shape) for key in ("exp_avg", "exp_avg_sq")} == {
        "exp_avg": (2, 3),
        "exp_avg_sq": (2, 3),
    }
    assert "exp_avg_sq" in found.nonnegative
    assert "exp_avg" not in found.nonnegative
    assert "max_exp_avg_sq" in found.spare
    scalar = expected(nn.Parameter(torch.tensor(1.0)))
    assert scalar.tensors["exp_avg"].shape == ()
    assert (scalar.needed, scalar.spare) == (found.needed, found.spare)


def test_a_good_state_is_taken_as_it_is() -> None:
    found = checked(GOOD)
    assert found.keys() == GOOD.keys()
    assert found["exp_avg"] is M
    assert found["exp_avg_sq"] is V
    assert found["step"] is not GOOD["step"]  # counts are not shared


def test_nothing_saved_is_no_state() -> None:
    assert checked({}) == checked({"exp_avg": None}) == checked({"exp_avg": {}, "step": None}) == {}


def with_codes(**changes):
    codes = {"exp_avg": M.to(torch.uint8), "exp_avg_scale": torch.ones(1, 1)}
    return {**GOOD, **codes, **changes}


def test_codes_with_their_scales_are_taken() -> None:
    assert checked(with_codes()).keys() == {*GOOD, "exp_avg_scale"}


REFUSED = [
    (with_codes(exp_avg_scale=torch.ones(2)), "exp_avg_scale has another shape: got (2,)"),
    (with_codes(exp_avg_scale=torch.ones(1, 1, dtype=torch.int32)), "does not fit its codes"),
    (with_codes(exp_avg_scale=1.0), "exp_avg_scale does not fit its codes: got 'float'"),
    (with_codes(exp_avg=M), "exp_avg has another dtype: got torch.float32; expected torch.uint8"),
    ({**GOOD, "other_scale": torch.ones(1)}, "another rule's: got 'other_scale'"),
    ({**GOOD, "other": M}, "another rule's: got 'other'"),
    ({**GOOD, 3: M}, "another rule's: got 3"),
    ({**GOOD, "exp_avg": M.to(torch.uint8)}, "got torch.uint8; expected floating point"),
    ({**GOOD, "exp_avg": M + 0j}, "exp_avg has another dtype"),
    ({**GOOD, "exp_avg": M[0]}, "exp_avg has another shape: got (3,); expected (2, 3)"),
    ({**GOOD, "max_exp_avg_sq": M[0]}, "max_exp_avg_sq has another shape"),
    ({**GOOD, "exp_avg": 1.0}, "exp_avg is not a tensor: got 'float'"),
    ({"step": torch.tensor(4.0), "exp_avg": M}, "The state lacks exp_avg_sq: got 'step, exp_avg'"),
    ({"exp_avg": M, "exp_avg_sq": V}, "The state lacks step"),
    ({"step": 4}, "The state lacks exp_avg, exp_avg_sq"),
    ([GOOD], "The state of a parameter is not a dict: got 'list'"),
    ({**GOOD, "exp_avg": {"a": M}}, "exp_avg is not a tensor: got 'dict'"),
    (with_codes(exp_avg=None), "exp_avg_scale does not fit its codes: got 'Tensor'"),
    (with_codes(exp_avg=3.0), "exp_avg"),
]


@pytest.mark.parametrize(("state", "text"), REFUSED, ids=[text[:50] for _, text in REFUSED])
def test_a_state_that_does_not_fit_gets_one_sentence(state, text: str) -> None:
    with pytest.raises(BadInput) as raised:
        checked(state)
    assert text in str(raised.value)


def test_a_placeholder_of_a_variant_that_was_off_is_taken() -> None:
    off = torch.tensor(0.0)
    assert checked({**GOOD, "max_exp_avg_sq": off})["max_exp_avg_sq"] is off
    assert checked({**GOOD, "max_exp_avg_sq": V})["max_exp_avg_sq"] is V
    with pytest.raises(BadInput, match="exp_avg_sq has another shape"):
        checked({**GOOD, "exp_avg_sq": off})


def test_states_of_complex_parameters_may_be_complex_or_pairs() -> None:
    p = nn.Parameter(torch.zeros(2, 3, dtype=torch.complex64))
    pairs = torch.ones(2, 3, 2)
    assert checked({**GOOD, "exp_avg": M + 0j, "exp_avg_sq": pairs}, p)["exp_avg_sq"] is pairs
    with pytest.raises(BadInput, match="exp_avg has another shape"):
        checked({**GOOD, "exp_avg": M, "exp_avg_sq": pairs}, p)


def test_whole_numbers_are_no_state_of_complex_parameters() -> None:
    p = nn.Parameter(torch.zeros(2, 3, dtype=torch.complex64))
    with pytest.raises(BadInput, match=r"exp_avg has another dtype: got torch\.int64"):
        checked({**GOOD, "exp_avg": torch.ones(2, 3, 2, dtype=torch.int64)}, p)


def test_a_variant_that_is_off_has_the_parameters_shape_if_it_was_on() -> None:
    p = nn.Parameter(torch.zeros(2, 3))
    optimizer = betaplane.RMSprop([p])
    rule = optimizer.rule_of(optimizer.param_groups[0])
    needs = expected_state(optimizer, rule, p, optimizer.state_keys)
    assert {"grad_avg", "momentum_buffer"} <= needs.spare
    good = {"step": torch.tensor(4.0), "square_avg": V}
    for spare in (M, torch.tensor(0.0)):
        assert checked_state({**good, "grad_avg": spare}, needs, p, "p")["grad_avg"] is spare
    with pytest.raises(
        BadInput, match=r"grad_avg has another shape: got \(3,\); expected \(2, 3\)"
    ):
        checked_state({**good, "grad_avg": M[0]}, needs, p, "p")
    with pytest.raises(BadInput, match=r"square_avg has another shape: got \(\); expected"):
        checked_state({**good, "square_avg": torch.tensor(1.0)}, needs, p, "p")


def test_step_counts_are_whole_and_not_negative() -> None:
    given = (0, 4, 4.0, torch.tensor(4), torch.tensor([4.0]), torch.tensor([[4]]))
    for value in given:
        found = step_count(value, "p")
        assert (found.shape, found.dtype) == ((), torch.float32)
        assert found.item() == (0 if value is given[0] else 4)
    assert step_count(torch.tensor(4.0, dtype=torch.float64), "p").dtype == torch.float64
    for bad in (-1, 0.5, math.inf, math.nan, True, "4", None, torch.ones(2), torch.tensor(1j)):
        with pytest.raises(BadInput, match="step"):
            step_count(bad, "p")


def test_numbers_are_kept_in_double_precision_if_that_is_the_default() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert step_count(4, "p").dtype == torch.float64
        assert step_count(torch.tensor(4), "p").dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_negative_elements_are_counted() -> None:
    check_signs([("v", torch.zeros(3)), ("w", torch.ones(3))])
    with pytest.raises(BadInput, match=r"w has negative elements: got 2; expected 0"):
        check_signs([("v", torch.zeros(3)), ("w", torch.tensor([-1.0, 0.0, -2.0]))])
    check_signs([("v", torch.ones(3, device="meta"))])
    with pytest.raises(BadInput, match="got 1"):
        check_signs([("v", torch.tensor([1 - 1j]))])


def named(*names: str):
    return betaplane.AdamW([(name, nn.Parameter(torch.zeros(2))) for name in names])


@pytest.mark.parametrize(
    ("own", "saved", "text"),
    [
        (("a", "b"), ("a",), "got {'missing': ['b'], 'unknown': []}"),
        (("a",), ("a", "b"), "got {'missing': [], 'unknown': ['b']}"),
        (("a", "b"), ("c", "a"), "got {'missing': ['b'], 'unknown': ['c']}"),
    ],
)
def test_names_of_one_side_alone_are_refused(own, saved, text: str) -> None:
    with pytest.raises(BadInput) as raised:
        by_name(named(*own), named(*saved).state_dict())
    assert text in str(raised.value)
    loose = by_name(named(*own), named(*saved).state_dict(), strict=False)
    assert loose["param_groups"][0]["param_names"] == list(own)


def test_state_dicts_without_names_on_both_sides_stay_as_they_are() -> None:
    bare = betaplane.AdamW([nn.Parameter(torch.zeros(2))])
    for optimizer, other in ((bare, named("a")), (named("a"), bare)):
        saved = other.state_dict()
        assert by_name(optimizer, saved) is saved
    saved = named("a", "b").state_dict()
    assert by_name(named("b", "a"), saved) is not saved


def test_groups_without_a_common_name_have_no_saved_options() -> None:
    own = betaplane.AdamW([("a", nn.Parameter(torch.zeros(2)))], lr=0.5)
    loose = by_name(own, named("b").state_dict(), strict=False)
    assert loose["param_groups"] == [{"params": [0], "param_names": ["a"]}]
    assert loose["state"] == {}
