"""Compiled steps for the parameters of a group, cached between steps and checked before reuse."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from operator import is_
from typing import Any, NamedTuple

from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed

from betaplane.optim.codegen.availability import record_failure
from betaplane.optim.codegen.inductor import step_compiled
from betaplane.optim.codegen.multi_tensor import MultiTensorStep, multi_tensor_steps
from betaplane.optim.codegen.trace import structure_of
from betaplane.optim.step.reference import reference_step
from betaplane.optim.step.step_spec import StepSpec, StepValues
from betaplane.optim.step.stored_state import STATE
from betaplane.rules import Rule


class CompiledGroup(NamedTuple):
    """The arguments of the compiled code for all parameters of a group."""

    structure: StepSpec
    params: list[Tensor]
    steps: list[MultiTensorStep]
    uncompiled: list[Tensor]  # parameters for which no code could be generated

    @classmethod
    def of(
        cls,
        spec: StepSpec,
        params: list[Tensor],
        states: Mapping[Tensor, Any],
        keys: Mapping[str, str] = STATE,
    ) -> CompiledGroup:
        """Generate, compile or look up the code for parameters on the CPU.

        Raises:
            NoCompiler: this machine cannot compile.
        """
        return cls(structure_of(spec), params, *multi_tensor_steps(spec, params, states, keys))

    def fits(self, spec: StepSpec, params: list[Tensor], states: Mapping[Tensor, Any]) -> bool:
        """Whether the cached arguments are valid for a step of exactly these parameters."""
        same_params = len(params) == len(self.params) and all(map(is_, params, self.params))
        return (
            same_params
            and not self.uncompiled
            and structure_of(spec) == self.structure
            and all(step.fits(states) for step in self.steps)
        )

    def step(self, rule: Rule, values: StepValues) -> float:
        """Step all compiled parameters.

        Returns:
            The squared norm of the update if the spec measures it, else 0.
        """
        return sum(step.step(rule, values) for step in self.steps)


def step_compiled_group(
    spec: StepSpec,
    params: list[Tensor],
    states: Mapping[Tensor, dict[str, Any]],
    values: StepValues,
    keys: Mapping[str, str] = STATE,
) -> tuple[float, CompiledGroup]:
    """Step parameters with gradients in place: by C on the CPU, by torch.compile on other devices.

    Parameters for which no code can be generated (views, dtypes without a C type) are stepped by the reference
    implementation.

    Args:
        spec: what the step does.
        params: the parameters.
        states: torch's state of each; filled at its first step.
        values: learning rate and the other numbers that the step takes.
        keys: torch's state keys for the fields of the rule's state, if they differ.

    Returns:
        The squared norm of the update if the spec measures it, else 0; and the arguments, which the next step can
        reuse if they still fit.

    Raises:
        NoCompiler: this machine cannot compile; nothing was stepped.
    """
    on_cpu = [p for p in params if p.device.type == "cpu"]
    on_device = [p for p in params if p.device.type != "cpu"]
    group = CompiledGroup.of(spec, on_cpu, states, keys)
    squared_update = group.step(spec.rule, values)
    uncompiled = [*group.uncompiled, *_step_on_device(spec, on_device, states, values, keys)]
    for p in uncompiled:
        squared_update += reference_step(spec, p, p.grad, states[p], values, keys=keys)  # type: ignore[arg-type]
    # parameters on another device are looked up at every step, so the group never covers them
    return squared_update, group


def _step_on_device(
    spec: StepSpec,
    params: list[Tensor],
    states: Mapping[Tensor, Any],
    values: StepValues,
    keys: Mapping[str, str],
) -> list[Tensor]:
    """Step parameters on other devices by torch.compile; returns those that it cannot step."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's own imports warn
            return [p for p in params if not step_compiled(spec, p, states[p], values, keys)]
    except BackendCompilerFailed as error:  # raised before anything is written
        record_failure(str(error).splitlines()[0])
        return params
