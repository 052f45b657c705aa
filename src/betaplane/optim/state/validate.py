"""Check a saved parameter state: keys, shapes, dtypes, signs and the step count."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor

from betaplane.errors import BadInput
from betaplane.optim.blocks import scale_shape
from betaplane.optim.step.step_spec import AVERAGE, COMPENSATION
from betaplane.optim.storage_formats import SCALE
from betaplane.tensors.dtensor import full_tensor, is_dtensor, local_tensor, sum_counts

BESIDE = (COMPENSATION, AVERAGE)  # state keys that any rule may have


class Expected(NamedTuple):
    """The state that an optimizer needs for one parameter."""

    tensors: Mapping[str, Tensor]  # by state key, on the meta device
    needed: frozenset[str]
    single: frozenset[str]  # keys of single numbers
    spare: frozenset[str]  # keys of other variants, kept if they are there
    nonnegative: frozenset[str]


def expected_state(optimizer: Any, rule: Any, p: Tensor, state_keys: Mapping[str, str]) -> Expected:
    """The state that an optimizer needs for a parameter.

    Args:
        optimizer: one of this package's.
        rule: of the parameter's group.
        p: the parameter.
        state_keys: torch's state keys for the fields of the rule's state, if they differ.
    """
    x = torch.view_as_real(p) if p.is_complex() else p
    fresh = rule.init(torch.empty(x.shape or (1,), dtype=x.dtype, device="meta"))._asdict()
    unused = {name for name in rule.optional if not fresh[name].dim()}
    tensors = optimizer._torch_state(
        {state_keys.get(name, name): value for name, value in fresh.items()}
    )
    keys = {state_keys.get(name, name) for name in unused}
    counts = optimizer.has_step_count
    if counts is None:
        counts = "step" in tensors
    needed = set(tensors) - keys - {"step"} | ({"step"} if counts else set())
    single = {key for key, value in tensors.items() if not value.dim()} - keys
    if not x.dim():
        tensors = {key: value.reshape(()) for key, value in tensors.items()}
    signs = {state_keys.get(name, name) for name in rule.nonnegative}
    spare = keys | set(optimizer.optional_keys)
    return Expected(tensors, *map(frozenset, (needed, single, spare, signs)))


def checked_state(param_state: Any, expected: Expected, p: Tensor, where: str) -> dict[str, Any]:
    """A saved state with single numbers as 0-dimensional tensors.

    Args:
        param_state: by state key.
        expected: what is needed.
        p: the parameter.
        where: for the error.

    Raises:
        BadInput: a needed tensor is missing, or one is unknown or of another shape or dtype.
    """
    if not isinstance(param_state, Mapping):
        raise BadInput(
            "The state of a parameter is not a dict", value=type(param_state).__name__, where=where
        )
    found = {key: value for key, value in param_state.items() if not _empty(value)}
    if not found:
        return {}
    checked = {key: _checked(key, value, found, expected, p, where) for key, value in found.items()}
    missing = sorted(expected.needed - set(found))
    if missing:
        raise BadInput(
            f"The state lacks {', '.join(missing)}", value=", ".join(map(str, found)), where=where
        )
    return checked


def _empty(value: Any) -> bool:
    """Whether a value means that there is no state: torch 1's SGD saves None, flattened state dicts
    give {}.
    """
    return value is None or (isinstance(value, Mapping) and not value)


def _checked(
    key: Any, value: Any, param_state: Mapping[str, Any], expected: Expected, p: Tensor, where: str
) -> Any:
    if key == "step":
        return step_count(value, where)
    if (
        isinstance(key, str)
        and key.endswith(SCALE)
        and key.removesuffix(SCALE) in {*expected.tensors, *expected.spare}
    ):
        return _checked_scale(key, value, param_state, where)
    if key not in expected.tensors and key not in expected.spare and key not in BESIDE:
        allowed = ", ".join(expected.tensors)
        raise BadInput("The state dict is another rule's", value=key, allowed=allowed, where=where)
    if key in expected.single:
        return _single(key, value, where)
    _check_dtype(key, value, key + SCALE in param_state, p, where)
    _check_shape(key, value, expected.tensors.get(key), key in expected.spare, p, where)
    return value


def _check_dtype(key: str, value: Any, coded: bool, p: Tensor, where: str) -> None:
    if not isinstance(value, Tensor):
        raise BadInput(f"The state {key} is not a tensor", value=type(value).__name__, where=where)
    fits = (
        value.dtype == torch.uint8
        if coded
        else value.is_floating_point() or (value.is_complex() and p.is_complex())
    )
    if not fits:
        allowed = "torch.uint8" if coded else "floating point"
        raise BadInput(
            f"The state {key} has another dtype", value=value.dtype, allowed=allowed, where=where
        )


def _check_shape(
    key: str, value: Tensor, fresh: Tensor | None, spare: bool, p: Tensor, where: str
) -> None:
    real = torch.view_as_real(value) if value.is_complex() else value
    if spare and not real.dim():
        return  # a placeholder: the option that uses it was off
    own = torch.view_as_real(p) if p.is_complex() else p
    shape = own.shape if fresh is None or (spare and not fresh.dim()) else fresh.shape
    if real.shape != shape:
        got, allowed = tuple(value.shape), str(tuple(shape))
        raise BadInput(
            f"The state {key} has another shape", value=got, allowed=allowed, where=where
        )


def _checked_scale(key: str, value: Any, param_state: Mapping[str, Any], where: str) -> Any:
    codes = param_state.get(key.removesuffix(SCALE))
    if (
        not isinstance(value, Tensor)
        or not value.is_floating_point()
        or not isinstance(codes, Tensor)
    ):
        raise BadInput(
            f"The state {key} does not fit its codes", value=type(value).__name__, where=where
        )
    if not is_dtensor(value) and not is_dtensor(codes) and value.shape != scale_shape(codes.shape):
        got, allowed = tuple(value.shape), str(tuple(scale_shape(codes.shape)))
        raise BadInput(
            f"The state {key} has another shape", value=got, allowed=allowed, where=where
        )
    return value


def _single(key: str, value: Any, where: str) -> Tensor:
    """A single number of a state as a 0-dimensional tensor; torch 1 saved numbers, or tensors of
    shape (1,).
    """
    number = isinstance(value, Real) and not isinstance(value, bool)
    number_tensor = (
        isinstance(value, Tensor)
        and value.numel() == 1
        and not value.is_complex()
        and value.dtype != torch.bool
    )
    if not number and not number_tensor:
        got = f"shape {tuple(value.shape)}, {value.dtype}" if isinstance(value, Tensor) else value
        raise BadInput(
            f"The state {key} is not one number", value=got, allowed="a number", where=where
        )
    if isinstance(value, Tensor):
        return value.reshape(()) if value.is_floating_point() else value.reshape(()).to(_dtype())
    return torch.tensor(float(value), dtype=_dtype())


def _dtype() -> torch.dtype:
    return torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32


def step_count(value: Any, where: str) -> Tensor:
    """A saved count of steps as a 0-dimensional tensor of floating point.

    Args:
        value: an integer >= 0, or a tensor of one element.
        where: for the error.

    Raises:
        BadInput: it is not a step count.

    Example:
        >>> step_count(torch.tensor([7]), "AdamW"), step_count(7, "AdamW")
        (tensor(7.), tensor(7.))
    """
    number_tensor = _single("step", value, where)
    count = 0.0 if number_tensor.is_meta else float(full_tensor(number_tensor))
    if not (math.isfinite(count) and count >= 0 and count == int(count)):
        raise BadInput(
            "The state's step is no count", value=count, allowed="a whole number >= 0", where=where
        )
    return (
        number_tensor.clone()
    )  # states may share the tensor of a group, but each counts its own steps


def check_signs(values: list[tuple[str, Tensor]]) -> None:
    """Raise BadInput if a second moment has negative elements, on any rank.

    Args:
        values: a description and the tensor, in the same order on every rank.
    """
    tensors = [value for _, value in values]
    for (what, _), count in zip(
        values, sum_counts(tensors, [_negatives(value) for value in tensors]), strict=True
    ):
        if count:
            raise BadInput(f"The state {what} has negative elements", value=count, allowed="0")


def _negatives(value: Tensor) -> int:
    own = local_tensor(value)
    real = torch.view_as_real(own) if own.is_complex() else own
    return 0 if real.is_meta or not bool((real < 0).any()) else int((real < 0).sum())
