"""Step parameters by their rule: compiled, or eagerly by the reference implementation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import compress, repeat
from operator import attrgetter, is_, is_not
from typing import Any

from torch import Tensor

from betaplane.optim.codegen.availability import record_failure
from betaplane.optim.codegen.build import NoCompiler
from betaplane.optim.codegen.compiled_group import step_compiled_group
from betaplane.optim.step.reference import reference_step
from betaplane.optim.step.step_spec import StepSpec, StepValues


def step_by_rule(
    facts: Any,
    params: list[Tensor],
    states: dict[Tensor, Any],
    *,
    compiled: bool,
) -> None:
    """Step parameters of a group by the rule: compiled, or each by the reference implementation.

    Args:
        facts: of the group, see `dispatch.GroupFacts`.
        params: the parameters, with gradients.
        states: torch's state of each; filled at its first step.
        compiled: whether to compile.
    """
    optimizer, group, keys = facts.optimizer, facts.group, facts.optimizer.state_keys
    norms, zero = optimizer.max_norm is not None, optimizer._zero_in_step
    spec = facts.checked.spec
    if spec.norms != norms or spec.zero != zero:
        spec = replace(spec, scaled=norms, norms=norms, zero=zero)
        facts.checked.spec = spec  # one object, so that what is cached for it is found
    values = StepValues(group["lr"], optimizer._scale, group.get("average") or 0.0)
    rule_states = states
    if optimizer.converts_state:
        rule_states = {p: _rule_state(optimizer, p, states.get(p, {})) for p in params}
    if not compiled or not _step_compiled(facts, spec, params, rule_states, values):
        for p in params:
            g: Any = p.grad
            optimizer._squared_update += reference_step(
                spec, p, g, rule_states[p], values, keys=keys
            )
    if optimizer.converts_state:
        for p, state in rule_states.items():
            _store_rule_state(optimizer, p, state, states)


def repeat_step(optimizer: Any) -> bool:
    """Step all groups by the compiled code of the last step, if nothing changed that decides how
    they are stepped.

    Args:
        optimizer: one of this package's.

    Returns:
        Whether they were stepped. If not, nothing was written.
    """
    around = optimizer.zero or optimizer.nonfinite != "pass" or optimizer.max_norm is not None
    if around or optimizer.converts_state or hasattr(optimizer, "found_inf"):
        return False
    cached, states = optimizer._compiled_groups, optimizer.state
    if len(cached) != len(optimizer.param_groups):
        return False
    for i, group in enumerate(optimizer.param_groups):
        checked, compiled = optimizer._checks.groups.get(i), cached.get(i)
        if compiled is None or checked is None or compiled.spec is not checked.spec:
            return False
        if compiled.path is not optimizer.path or not checked.is_current(group):
            return False
        if not compiled.repeats(_with_gradients(group["params"]), states):
            return False
    for i, group in enumerate(optimizer.param_groups):
        values = StepValues(group["lr"], 1.0, group.get("average") or 0.0)
        cached[i].step(cached[i].spec, states, values, optimizer.state_keys)
    return True


def _with_gradients(params: list[Tensor]) -> list[Tensor]:
    """The parameters that have a gradient."""
    has_gradient = list(map(is_not, map(attrgetter("grad"), params), repeat(None)))
    return params if all(has_gradient) else list(compress(params, has_gradient))


def _rule_state(optimizer: Any, p: Tensor, param_state: dict[str, Any]) -> dict[str, Any]:
    """The state as the rule has it: that of the last step, if torch's is still made of its tensors."""
    known = optimizer._rule_states.get(p)
    if known is not None and _same_tensors(param_state, known[0]):
        return known[1]
    return optimizer._rule_state(param_state)


def _store_rule_state(
    optimizer: Any, p: Tensor, rule_state: dict[str, Any], states: dict[Tensor, Any]
) -> None:
    """Store the rule's state of p as torch's."""
    if not rule_state:  # empty tensors have no state
        return
    known = optimizer._rule_states.get(p)
    if known is not None and known[1] is rule_state and _same_tensors(rule_state, known[2]):
        return
    states[p] = optimizer._torch_state(rule_state)
    if optimizer.converts_by_views:
        optimizer._rule_states[p] = dict(states[p]), rule_state, dict(rule_state)


def _same_tensors(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two states are made of the same tensors."""
    return a.keys() == b.keys() and all(map(is_, a.values(), b.values()))


def _step_compiled(
    facts: Any,
    spec: StepSpec,
    params: list[Tensor],
    states: Mapping[Tensor, Any],
    values: StepValues,
) -> bool:
    """Step parameters by compiled code, with the arguments of the last step if they still fit.

    Returns:
        False if this machine cannot compile; nothing was stepped then.
    """
    optimizer = facts.optimizer
    cached = optimizer._compiled_groups.get(facts.index)
    if cached is not None and cached.fits(spec, params, states):
        optimizer._squared_update += cached.step(spec, states, values, optimizer.state_keys)
        return True
    try:
        squared_update, compiled = step_compiled_group(
            spec, params, states, values, optimizer.state_keys
        )
    except NoCompiler as error:
        record_failure(str(error))
        return False
    all_params = len(params) == len(facts.params)
    path = optimizer.path if all_params and not facts.eager else None
    optimizer._compiled_groups[facts.index] = compiled._replace(path=path)
    optimizer._squared_update += squared_update
    return True
