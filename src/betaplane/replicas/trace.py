"""One training step of R stacked replicas, recorded as a flat graph of tensor operations.

`torch.func` expresses the step (vmap of the gradient of the loss, then the rule), but costs
milliseconds of Python per step. The operations that it performs on R stacked replicas are therefore
recorded once, and the recorded graph is executed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, fx
from torch.func import functional_call, grad_and_value, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from betaplane.optim.codegen.hoist import hoist, values
from betaplane.problems.problem import Problem
from betaplane.replicas.compiled import DECOMPOSITIONS, compile_graph, compile_in_place
from betaplane.replicas.objective import Objective, analytic_gradient, batch_of
from betaplane.replicas.param_groups import Layout
from betaplane.replicas.shared_batch import share_inputs
from betaplane.replicas.stack import Stack, stacking_errors

Leaves = list[Tensor]


def replica_step(problem: Problem, objective: Objective, layout: Layout) -> Callable:
    """The step of a single replica, which vmap turns into a step of the stack."""

    def loss(
        params: dict, buffers: dict, constants: dict, x: Tensor, y: Tensor
    ) -> tuple[Tensor, dict]:
        tensors = {**params, **constants, **{name: b.clone() for name, b in buffers.items()}}
        # functional_call writes reassigned buffers into `tensors`
        value = functional_call(objective, tensors, (batch_of(problem, x, y),), strict=True)
        return value, {name: tensors[name] for name in buffers}

    def step(
        params: dict,
        buffers: dict,
        state: dict,
        hyper: dict,
        lr: Tensor,
        x: Tensor,
        y: Tensor,
        constants: dict,
    ) -> tuple:
        if problem.gradient is None:
            grads, (value, buffers) = grad_and_value(loss, has_aux=True)(
                params, buffers, constants, x, y
            )
        else:
            grads, value = analytic_gradient(problem, {**params, **constants}, x, y)
        if problem.record == "full":
            # the loss is not used; dead code elimination then removes its operations
            value = torch.zeros((), device=lr.device)
        new_params, new_state = {}, {}
        for name, p in params.items():
            x_1d = p if p.dim() else p[None]
            g_1d = grads[name].reshape(x_1d.shape)
            rule, own_lr = layout.rule(name, hyper), layout.lr(name, lr)
            updated, new_state[name] = rule.step(x_1d, g_1d, state[name], own_lr)
            updated = updated.reshape(p.shape)
            new_params[name] = updated if problem.constrain is None else problem.constrain(updated)
        return new_params, buffers, new_state, value

    return step


class RecordedStep:
    """K training steps of a stack, recorded for its number of replicas.

    Args:
        problem: the problem to train.
        objective: a fresh objective with the seed of the stack's runs.
        layout: the parameter groups, with the hyperparameters that the runs share.
        stack: the stack to train, or one with the same shapes.
        lr: (K, R) or (K, R, groups), learning rates of the K steps.
        x: inputs of the K minibatches, (K, batch, ...) if shared, else (K, R, batch, ...).
        y: their targets.
        shared: all replicas get the same minibatch.
        compiled: compile the recorded graph with torch's inductor.
    """

    def __init__(
        self,
        problem: Problem,
        objective: Objective,
        layout: Layout,
        stack: Stack,
        lr: Tensor,
        x: Tensor,
        y: Tensor,
        *,
        shared: bool,
        compiled: bool = False,
    ) -> None:
        batch_dim = None if shared else 0
        dims = (0, 0, 0, 0, 0, batch_dim, batch_dim, stack.constants_dim)
        step = vmap(replica_step(problem, objective, layout), in_dims=dims, randomness="same")
        carried = (stack.params, stack.buffers, stack.state)
        self._carried_spec = pytree.tree_structure(carried)
        inputs, spec = pytree.tree_flatten((*carried, stack.hyper, lr, x, y, stack.constants))

        def steps(*leaves: Tensor) -> Leaves:
            params, buffers, state, hyper, lr, x, y, constants = pytree.tree_unflatten(leaves, spec)
            losses = []
            for k in range(len(lr)):
                params, buffers, state, loss = step(
                    params, buffers, state, hyper, lr[k], x[k], y[k], constants
                )
                losses.append(loss)
            return pytree.tree_leaves((params, buffers, state, sum(losses[1:], losses[0]).double()))

        graph = _record(steps, inputs, DECOMPOSITIONS if compiled else {})
        if shared:
            share_inputs(graph)
        first = len(pytree.tree_leaves(carried))
        hyper = set(range(first, first + len(stack.hyper)))
        constants = set(range(len(inputs) - len(stack.constants), len(inputs)))
        self._hoisted = values(hoist(graph, hyper | constants), inputs)  # computed once
        inputs += self._hoisted
        self._per_step: Callable[..., Leaves] = lambda *_: []  # computed before each step
        if compiled and len(lr) == 1:
            counts = {i for i in range(len(stack.params), first) if inputs[i].dim() == 1}
            rest = range(len(inputs) - len(self._hoisted) - len(constants), len(inputs))
            small = {*hyper, first + len(stack.hyper), *counts, *rest}
            self._per_step = compile_graph(hoist(graph, small), inputs)
            inputs += self._per_step(*inputs)
        self._call = compile_in_place(graph, first, inputs) if compiled else graph.forward

    def __call__(self, stack: Stack, lr: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Take the K steps and update the stack; return the sum of the K losses, float64 (R,)."""
        leaves = pytree.tree_leaves((stack.params, stack.buffers, stack.state, stack.hyper))
        inputs = [*leaves, lr, x, y, *stack.constants.values(), *self._hoisted]
        *carried, loss = self._call(*inputs, *self._per_step(*inputs))
        if not carried:  # a compiled step writes into the stack's own tensors
            return loss
        stack.params, stack.buffers, stack.state = pytree.tree_unflatten(
            carried, self._carried_spec
        )
        return loss


def _record(function: Callable, inputs: Leaves, decompositions: dict) -> fx.GraphModule:
    """Record the operations that `function` performs; some are replaced by their decompositions."""
    with stacking_errors():
        return make_fx(function, tracing_mode="fake", decomposition_table=decompositions)(*inputs)
