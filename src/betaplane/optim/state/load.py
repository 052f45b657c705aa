"""Load a state dict into an optimizer: checked first, all or nothing, by name if there are names."""

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
CHOICES = {name for rule in ALL for name in rule.choices} | {"storage", LABEL}  # no user's own


def load(
    optimizer: Optimizer,
    state_dict: dict[str, Any],
    load_by_place: Callable[[dict[str, Any]], None],
    words: Mapping[str, str],
    *,
    strict: bool,
) -> None:
    """Load a state, all or nothing: on any error the optimizer is as it was.

    First each saved group's options replace those of the optimizer's group, as in torch; options that it lacks stay,
    and `storage` does. Then, for the rule that the group asks for now:

    | the state dict | is |
    |---|---|
    | contains what the rule's state contains, tensor by tensor (`Rule.contents`) | loaded |
    | contains anything else, though shapes and keys fit (AdaBelief's v in Adam) | refused |
    | has a tensor too many, or lacks one that the rule needs | refused |
    | has a tensor of an option that is off in its group (amsgrad, momentum) | loaded, tensor included |
    | has the same tensors under other keys | loaded, keys changed |
    | says nothing of its contents (torch, version 0.1.0) | judged by its options and state keys |
    | has tensors of another shape or dtype, or a second moment below 0 | refused |
    | has its count of steps as a number, in shape (1,), or in the group (apex, Megatron) | loaded |
    | has no count of steps, or one that is not whole or below 0 | refused |
    | has no state for a parameter | loaded; that parameter starts afresh |

    Args:
        optimizer: with `rule_of(group)` and `contents_of(group)`.
        state_dict: what `state_dict()` gave.
        load_by_place: torch's load_state_dict.
        words: torch's names for the fields of the rule's state, where they differ.
        strict: whether both must have the same names.

    Raises:
        BadInput: the state dict is refused.
    """
    found: dict[str, Any] = {}
    saved: list[str] = []

    def fit(optimizer: Optimizer, given: dict[str, Any]) -> dict[str, Any]:
        check_layout(given, type(optimizer).__name__)
        found.update(by_name(optimizer, given, strict=strict))
        check_sizes(optimizer, found)
        saved.extend(old.get("storage", "parameter") for old in found["param_groups"])
        found["state"], groups = checked(optimizer, found, words)
        found["state"] = decode_state_dict(optimizer, found, words)
        found["param_groups"] = groups
        return found

    check_layout(state_dict, type(optimizer).__name__)
    with _all_or_nothing(optimizer):
        # the last: users' own hooks may rename and reshape
        with optimizer.register_load_state_dict_pre_hook(fit):
            load_by_place(state_dict)
        keep_types(optimizer, found)
        encode_states(optimizer, words, saved)


@contextmanager
def _all_or_nothing(optimizer: Optimizer) -> Iterator[None]:
    """Give an optimizer back its groups and state on an error; torch makes new ones and writes into
    none.
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
    """Raise BadInput where a state dict has other groups than the optimizer, or of other lengths."""
    groups, saved = optimizer.param_groups, state_dict["param_groups"]
    sizes = [[len(group["params"]) for group in side] for side in (saved, groups)]
    if sizes[0] != sizes[1]:
        where, allowed = type(optimizer).__name__, f"{sizes[1]} parameters"
        raise BadInput(
            "The state dict is for other groups", value=sizes[0], allowed=allowed, where=where
        )


def checked(
    optimizer: Any, state_dict: Mapping[str, Any], words: Mapping[str, str]
) -> tuple[States, list[dict[str, Any]]]:
    """The states and groups to load, checked against each group's rule.

    Args:
        optimizer: with `rule_of(group)` and `contents_of(group)`.
        state_dict: what is to be loaded, in the optimizer's groups.
        words: torch's names for the fields of the rule's state, where they differ.
    """
    states, groups, signed = dict(state_dict["state"]), [], []
    for group, old in zip(optimizer.param_groups, state_dict["param_groups"], strict=True):
        merged = {**group, **_options(optimizer, old)}
        rule = _rule_of(optimizer, {**merged, "params": group["params"]})
        keys = _matched(optimizer, merged, old, states)
        counted = any(
            "step" not in states[i] for i in old["params"] if isinstance(states.get(i), Mapping)
        )
        for p, i, where in zip(
            group["params"], old["params"], _places(optimizer, old), strict=True
        ):
            if i in states:
                expected = expected_state(optimizer, rule, p, words)
                states[i] = checked_state(_renamed(states[i], keys, old), expected, p, where)
                coded = {
                    key for key in expected.nonnegative if isinstance(states[i].get(key), Tensor)
                }
                signed += [(f"{key} of {where}", states[i][key]) for key in sorted(coded)]
                if not states[i]:
                    del states[i]
        if "step" in old and counted and any("step" in states.get(i, ()) for i in old["params"]):
            merged.pop("step")  # it is in the states now, and would stand still here
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

    Not how the state was kept, which is for the process that resumes to say.
    """
    own = set(inspect.signature(type(optimizer)).parameters).union(*optimizer.param_groups) - {
        "storage",
        LABEL,
    }
    return {name: value for name, value in old.items() if name in own or name not in CHOICES}


def _rule_of(optimizer: Any, group: Mapping[str, Any]) -> Rule:
    """The rule that a loaded group asks for."""
    where = type(optimizer).__name__
    lr = group.get("lr")
    if not isinstance(lr, Real | Tensor):
        raise BadInput(
            "lr in the state dict is not a number", value=lr, allowed="[0, inf)", where=where
        )
    try:
        return optimizer.rule_of(group)
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        told = {
            name: value for name, value in group.items() if name not in ("params", "param_names")
        }
        raise BadInput(
            "The options of the state dict are not those of this optimizer", value=told, where=where
        ) from error


def _matched(
    optimizer: Any, merged: Mapping[str, Any], old: Mapping[str, Any], states: Mapping[Any, Any]
) -> Any:
    """The optimizer's key for each saved key that is another."""
    held = [states[i] for i in old["params"] if isinstance(states.get(i), Mapping)]
    saved = saved_contents(old, {key for state in held for key in state}, type(optimizer).__name__)
    return matched_keys(saved, optimizer.contents_of(merged), type(optimizer).__name__)


def _places(optimizer: Any, old: Mapping[str, Any]) -> list[str]:
    """What each parameter of a saved group is called in an error."""
    names = old.get("param_names") or [f"parameter {i}" for i in old["params"]]
    return [f"{name} of {type(optimizer).__name__}" for name in names]


def _renamed(held: Any, keys: Mapping[str, str], old: Mapping[str, Any]) -> Any:
    """A parameter's state under the optimizer's keys, its step taken from the group if it is there
    alone.
    """
    if not isinstance(held, Mapping) or not held:
        return held
    names = {**keys} | {key + SCALE: new + SCALE for key, new in keys.items()}
    step = {"step": old["step"]} if "step" in old else {}
    return step | {names.get(key, key): value for key, value in held.items()}


def keep_types(optimizer: Optimizer, state_dict: Mapping[str, Any]) -> None:
    """Give states back the types they had in the state dict; torch casts them to their parameters'.

    Args:
        optimizer: has just loaded it.
        state_dict: what it loaded.
    """
    saved = [i for group in state_dict["param_groups"] for i in group["params"]]
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for i, p in zip(saved, params, strict=True):
        held = optimizer.state.get(p, {})
        for word, value in state_dict["state"].get(i, {}).items():
            cast = held.get(word)
            if (
                word != "step"
                and isinstance(cast, Tensor)
                and isinstance(value, Tensor)
                and cast.dtype != value.dtype
            ):
                held[word] = value.detach().clone().to(p.device)
