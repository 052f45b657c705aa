"""Load a state dict into an optimizer: by name if there are names, and only if all of it is valid."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from typing import Any

from torch import Tensor
from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput
from betaplane.optim.state.labels import LABEL, matched_keys, saved_contents
from betaplane.optim.state.match_names import by_name
from betaplane.optim.state.reencode import decode_state_dict, encode_states
from betaplane.optim.state.validate import check_signs, checked_state, expected_state
from betaplane.optim.storage_formats import SCALE
from betaplane.rules import ALL, Rule

States = dict[Any, dict[str, Any]]
CHOICES = {name for rule in ALL for name in rule.choices} | {
    "storage",
    LABEL,
}  # none of these is a user's own key


def load(
    optimizer: Optimizer,
    state_dict: dict[str, Any],
    load_by_position: Callable[[dict[str, Any]], None],
    state_keys: Mapping[str, str],
    *,
    strict: bool,
) -> None:
    """Load a state, all or nothing: on any error the optimizer is unchanged.

    First the options of each saved group replace those of the optimizer's group, as in torch; options that the saved
    group lacks, and `storage`, stay. Then, for the rule with the group's options:

    | the state dict | is |
    |---|---|
    | contains what the rule's state contains, tensor by tensor (`Rule.contents`) | loaded |
    | contains anything else, though shapes and keys fit (AdaBelief's v in Adam) | rejected |
    | has a tensor too many, or lacks one that the rule needs | rejected |
    | has a tensor of an option that is off in its group (amsgrad, momentum) | loaded, tensor included |
    | has the same tensors under other keys | loaded, keys changed |
    | does not say what it contains (torch, version 0.1.0) | identified by its options and state keys |
    | has tensors of another shape or dtype, or a second moment below 0 | rejected |
    | has its step count as a number, in shape (1,), or in the group (apex, Megatron) | loaded |
    | has no step count, or one that is not an integer or is below 0 | rejected |
    | has no state for a parameter | loaded; that parameter starts with no state |

    Args:
        optimizer: with `rule_of(group)` and `contents_of(group)`.
        state_dict: the result of `state_dict()`.
        load_by_position: torch's load_state_dict.
        state_keys: torch's state keys for the fields of the rule's state, if they differ.
        strict: whether both must have the same names.

    Raises:
        BadInput: the state dict is rejected.
    """
    prepared: dict[str, Any] = {}
    saved: list[str] = []

    def prepare(optimizer: Optimizer, loaded: dict[str, Any]) -> dict[str, Any]:
        check_layout(loaded, type(optimizer).__name__)
        prepared.update(by_name(optimizer, loaded, strict=strict))
        check_sizes(optimizer, prepared)
        saved.extend(old.get("storage", "parameter") for old in prepared["param_groups"])
        prepared["state"], groups = check_states(optimizer, prepared, state_keys)
        prepared["state"] = decode_state_dict(optimizer, prepared, state_keys)
        prepared["param_groups"] = groups
        return prepared

    check_layout(state_dict, type(optimizer).__name__)
    with _all_or_nothing(optimizer):
        # registered last, because users' own hooks may rename and reshape
        with optimizer.register_load_state_dict_pre_hook(prepare):
            load_by_position(state_dict)
        restore_dtypes(optimizer, prepared)
        encode_states(optimizer, state_keys, saved)


@contextmanager
def _all_or_nothing(optimizer: Optimizer) -> Iterator[None]:
    """Restore an optimizer's groups and state on an error; torch creates new ones and does not
    change the old.
    """
    before = dict(optimizer.__dict__)
    try:
        yield
    except BaseException:
        optimizer.__dict__.clear()
        optimizer.__dict__.update(before)
        raise


def check_layout(state_dict: Any, where: str) -> None:
    """Raise BadInput if a state dict is not what torch's optimizers save."""
    parts = state_dict if isinstance(state_dict, Mapping) else {}
    groups = parts.get("param_groups")
    fits = (
        isinstance(parts.get("state"), Mapping)
        and isinstance(groups, list | tuple)
        and all(map(_is_group, groups))
    )
    if not fits:
        got = (
            sorted(map(str, state_dict))
            if isinstance(state_dict, Mapping)
            else type(state_dict).__name__
        )
        allowed = "what optimizer.state_dict() gives: a dict of state and param_groups"
        raise BadInput(
            "This is no state dict of an optimizer", value=got, allowed=allowed, where=where
        )


def _is_group(group: Any) -> bool:
    return isinstance(group, Mapping) and isinstance(group.get("params"), list | tuple)


def check_sizes(optimizer: Optimizer, state_dict: Mapping[str, Any]) -> None:
    """Raise BadInput if a state dict has other groups than the optimizer, or groups of other
    lengths.
    """
    groups, saved = optimizer.param_groups, state_dict["param_groups"]
    sizes = [[len(group["params"]) for group in side] for side in (saved, groups)]
    if sizes[0] != sizes[1]:
        where, allowed = type(optimizer).__name__, f"{sizes[1]} parameters"
        raise BadInput(
            "The state dict is for other groups", value=sizes[0], allowed=allowed, where=where
        )


def check_states(
    optimizer: Any, state_dict: Mapping[str, Any], state_keys: Mapping[str, str]
) -> tuple[States, list[dict[str, Any]]]:
    """The states and groups to load, checked against each group's rule.

    Args:
        optimizer: with `rule_of(group)` and `contents_of(group)`.
        state_dict: the state dict to load, in the optimizer's groups.
        state_keys: torch's state keys for the fields of the rule's state, if they differ.
    """
    states, groups, signed = dict(state_dict["state"]), [], []
    for group, old in zip(optimizer.param_groups, state_dict["param_groups"], strict=True):
        merged = {**group, **_options(optimizer, old)}
        rule = _rule_of(optimizer, {**merged, "params": group["params"]})
        keys = _renamed_keys(optimizer, merged, old, states)
        counted = any(
            "step" not in states[i] for i in old["params"] if isinstance(states.get(i), Mapping)
        )
        for p, i, where in zip(
            group["params"], old["params"], _parameter_names(optimizer, old), strict=True
        ):
            if i in states:
                expected = expected_state(optimizer, rule, p, state_keys)
                states[i] = checked_state(_rename_keys(states[i], keys, old), expected, p, where)
                coded = {
                    key for key in expected.nonnegative if isinstance(states[i].get(key), Tensor)
                }
                signed += [(f"{key} of {where}", states[i][key]) for key in sorted(coded)]
                if not states[i]:
                    del states[i]
        if "step" in old and counted and any("step" in states.get(i, ()) for i in old["params"]):
            merged.pop("step")  # it is in the states now, and would not be counted here
        groups.append(merged)
    check_signs(
        [
            (what, value)
            for what, value in signed
            if value.dtype.is_floating_point or value.is_complex()
        ]
    )
    return states, groups


def _options(optimizer: Any, old: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a saved group that this optimizer has, and a user's own keys.

    `storage` is not taken over: the optimizer that resumes decides it.
    """
    own = set(inspect.signature(type(optimizer)).parameters).union(*optimizer.param_groups) - {
        "storage",
        LABEL,
    }
    return {name: value for name, value in old.items() if name in own or name not in CHOICES}


def _rule_of(optimizer: Any, group: Mapping[str, Any]) -> Rule:
    """The rule with the options of a loaded group."""
    where = type(optimizer).__name__
    lr = group.get("lr")
    if not isinstance(lr, Real | Tensor):
        raise BadInput(
            "lr in the state dict is not a number", value=lr, allowed="[0, inf)", where=where
        )
    try:
        return optimizer.rule_of(group)
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        options = {
            name: value for name, value in group.items() if name not in ("params", "param_names")
        }
        raise BadInput(
            "The options of the state dict are not those of this optimizer",
            value=options,
            where=where,
        ) from error


def _renamed_keys(
    optimizer: Any, merged: Mapping[str, Any], old: Mapping[str, Any], states: Mapping[Any, Any]
) -> Any:
    """The optimizer's key for each saved key that differs from it."""
    param_states = [states[i] for i in old["params"] if isinstance(states.get(i), Mapping)]
    saved = saved_contents(
        old, {key for state in param_states for key in state}, type(optimizer).__name__
    )
    return matched_keys(saved, optimizer.contents_of(merged), type(optimizer).__name__)


def _parameter_names(optimizer: Any, old: Mapping[str, Any]) -> list[str]:
    """The name of each parameter of a saved group, for errors."""
    names = old.get("param_names") or [f"parameter {i}" for i in old["params"]]
    return [f"{name} of {type(optimizer).__name__}" for name in names]


def _rename_keys(held: Any, keys: Mapping[str, str], old: Mapping[str, Any]) -> Any:
    """A parameter's state under the optimizer's keys; a step count that only the group has is
    added.
    """
    if not isinstance(held, Mapping) or not held:
        return held
    names = {**keys} | {key + SCALE: new + SCALE for key, new in keys.items()}
    step = {"step": old["step"]} if "step" in old else {}
    return step | {names.get(key, key): value for key, value in held.items()}


def restore_dtypes(optimizer: Optimizer, state_dict: Mapping[str, Any]) -> None:
    """Convert states back to their dtypes in the state dict; torch has cast them to their
    parameters'.

    Args:
        optimizer: the optimizer that has just loaded the state dict.
        state_dict: the state dict.
    """
    saved = [i for group in state_dict["param_groups"] for i in group["params"]]
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for i, p in zip(saved, params, strict=True):
        param_state = optimizer.state.get(p, {})
        for key, value in state_dict["state"].get(i, {}).items():
            cast = param_state.get(key)
            if (
                key != "step"
                and isinstance(cast, Tensor)
                and isinstance(value, Tensor)
                and cast.dtype != value.dtype
            ):
                param_state[key] = value.detach().clone().to(p.device)
