"""One training step of R stacked replicas as a flat graph of tensor operations.

`torch.func` writes the step (vmap of grad of the module's loss, then the rule), but costs
milliseconds of Python a step. So it is asked once: the operations it performs on R stacked replicas
are recorded, and the recording is run.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, fx
from torch.func import functional_call, grad_and_value, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from betaplane.errors import BadInput
from betaplane.optim.codegen.hoist import hoist, is_random, values
from betaplane.problems.problem import Problem
from betaplane.replicas.objective import Objective, given_gradient
from betaplane.replicas.shared_batch import share_inputs
from betaplane.rules._rule import Rule

Leaves = list[Tensor]


@dataclass
class Stack:
    """What R replicas carry from step to step: every tensor has R as its first dimension, but those
    shared by all.
    """

    params: dict[str, Tensor]  # the trained ones
    buffers: dict[str, Tensor]
    state: dict[str, object]  # the rule's state, by parameter
    hyper: dict[str, Tensor]  # float64 (R,), the hyperparameters that differ between runs
    lr: Tensor  # float64 (R,), peak learning rates
    constants: dict[str, Tensor]  # parameters that are not trained
    shared: bool  # the constants are the same for all replicas, and have no dimension for them

    def __len__(self) -> int:
        return len(self.lr)

    def select(self, keep: Tensor) -> Stack:
        """The replicas at the positions given (int64)."""
        pick = lambda tree: pytree.tree_map(lambda leaf: leaf[keep].contiguous(), tree)  # noqa: E731
        constants = self.constants if self.shared else pick(self.constants)
        return Stack(
            pick(self.params), pick(self.buffers), pick(self.state), pick(self.hyper), pick(self.lr),
            constants, self.shared,
        )  # fmt: skip

    @property
    def constants_dim(self) -> int | None:
        """The dimension of the replicas in the constants, as vmap takes it."""
        return None if self.shared else 0


def stack(
    objectives: Sequence[Objective],
    trained: Collection[str],
    rules: Sequence[Rule],
    lrs: Sequence[float],
    device: str,
) -> Stack:
    """Stack fresh objectives, one per run or one for all, with the rules' first states.

    Args:
        objectives: R of them, or 1.
        trained: names of the parameters that the optimizer moves.
        rules: R rules of one kind.
        lrs: R learning rates.
        device: where the stack is.
    """
    shared, runs = len(objectives) == 1, len(rules)
    every = dict(objectives[0].named_parameters())
    params = {name: _stacked(objectives, name, device, runs) for name in every if name in trained}
    buffers = {
        name: _stacked(objectives, name, device, runs) for name, _ in objectives[0].named_buffers()
    }
    constants = {
        name: p.detach().to(device) if shared else _stacked(objectives, name, device, runs)
        for name, p in every.items()
        if name not in trained
    }
    hyper = {
        name: torch.tensor(
            [getattr(rule, name) for rule in rules], dtype=torch.float64, device=device
        )
        for name in varying(rules)
    }
    init = lambda p, hyper: replace(rules[0], **hyper).init(p)  # noqa: E731
    state = {name: vmap(init)(_at_least_1d(p), hyper) for name, p in params.items()}
    state = pytree.tree_map(lambda leaf: leaf.expand(len(rules), *leaf.shape[1:]).clone(), state)
    lr = torch.tensor(lrs, dtype=torch.float64, device=device)
    return Stack(params, buffers, state, hyper, lr, constants, shared)


def varying(rules: Sequence[Rule]) -> list[str]:
    """The hyperparameters in which the rules differ; the others stay plain numbers."""
    names = (*rules[0].hyperparameters(), *(["peak_lr"] if hasattr(rules[0], "peak_lr") else []))
    return [name for name in names if len({getattr(rule, name) for rule in rules}) > 1]


def _stacked(objectives: Sequence[Objective], name: str, device: str, runs: int) -> Tensor:
    get = lambda one: (dict(one.named_parameters()) | dict(one.named_buffers()))[name].detach()  # noqa: E731
    tensors = [get(objective) for objective in objectives]
    return torch.stack(tensors * (runs // len(tensors))).to(device)


def _at_least_1d(p: Tensor) -> Tensor:
    """A stacked scalar parameter as (R, 1), so that float64 hyperparameters do not promote it."""
    return p if p.dim() > 1 else p[:, None]


def one_step(problem: Problem, objective: Objective, rule: Rule) -> Callable:
    """The step of a single replica, in the plain words of torch.func; vmap makes it a step of many."""

    def loss(
        params: dict, buffers: dict, constants: dict, x: Tensor, y: Tensor
    ) -> tuple[Tensor, dict]:
        tensors = {**params, **constants, **{name: b.clone() for name, b in buffers.items()}}
        # writes reassigned buffers into `tensors`
        value = functional_call(objective, tensors, (x, y), strict=True)
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
            grads, value = given_gradient(problem, {**params, **constants}, x, y)
        if problem.record == "full":
            value = torch.zeros((), device=lr.device)  # it is not used; what led to it is removed
        mine = replace(rule, **hyper)
        new_params, new_state = {}, {}
        for name, p in params.items():
            wide = p if p.dim() else p[None]
            moved, new_state[name] = mine.step(
                wide, grads[name].reshape(wide.shape), state[name], lr
            )
            moved = moved.reshape(p.shape)
            new_params[name] = moved if problem.constrain is None else problem.constrain(moved)
        return new_params, buffers, new_state, value

    return step


class Step:
    """A few training steps of a stack, recorded for its number of replicas.

    Args:
        stack: the stack it will be applied to, or one of the same shapes.
        objective: a fresh one, of the seed of the stack's runs.
        lr: (K, R), learning rates of the K steps.
        x, y: the K minibatches, (K, batch, ...) if shared, else (K, R, batch, ...).
        shared: all replicas get the same minibatch.
        compiled: hand the recording to torch.compile.
    """

    def __init__(
        self,
        problem: Problem,
        objective: Objective,
        rule: Rule,
        stack: Stack,
        lr: Tensor,
        x: Tensor,
        y: Tensor,
        *,
        shared: bool,
        compiled: bool = False,
    ) -> None:
        batch = None if shared else 0
        dims = (0, 0, 0, 0, 0, batch, batch, stack.constants_dim)
        stepped = vmap(one_step(problem, objective, rule), in_dims=dims, randomness="same")
        carried = (stack.params, stack.buffers, stack.state)
        self._carried_spec = pytree.tree_structure(carried)
        inputs, spec = pytree.tree_flatten((*carried, stack.hyper, lr, x, y, stack.constants))

        def steps(*leaves: Tensor) -> Leaves:
            params, buffers, state, hyper, lr, x, y, constants = pytree.tree_unflatten(leaves, spec)
            losses = []
            for k in range(len(lr)):
                params, buffers, state, loss = stepped(
                    params, buffers, state, hyper, lr[k], x[k], y[k], constants
                )
                losses.append(loss)
            return pytree.tree_leaves((params, buffers, state, sum(losses[1:], losses[0]).double()))

        graph = _record(steps, inputs, CHEAPER if compiled else {})
        if shared:
            share_inputs(graph)
        self.random = any(is_random(node) for node in graph.graph.nodes)
        first = len(pytree.tree_leaves(carried))
        hyper = set(range(first, first + len(stack.hyper)))
        constants = set(range(len(inputs) - len(stack.constants), len(inputs)))
        self._held = values(hoist(graph, hyper | constants), inputs)
        inputs += self._held
        self._once_a_step: Callable[..., Leaves] = lambda *_: []
        if compiled and len(lr) == 1:
            counts = {i for i in range(len(stack.params), first) if inputs[i].dim() == 1}
            rest = range(len(inputs) - len(self._held) - len(constants), len(inputs))
            constant = {*hyper, first + len(stack.hyper), *counts, *rest}
            self._once_a_step = compiled_call(hoist(graph, constant), inputs)
            inputs += self._once_a_step(*inputs)
        self._call = compiled_in_place(graph, first, inputs) if compiled else graph.forward

    def __call__(self, stack: Stack, lr: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Take the K steps, in place of the stack's tensors; returns the sum of the K losses,
        float64 (R,).
        """
        leaves = pytree.tree_leaves((stack.params, stack.buffers, stack.state, stack.hyper))
        inputs = [*leaves, lr, x, y, *stack.constants.values(), *self._held]
        *carried, loss = self._call(*inputs, *self._once_a_step(*inputs))
        if not carried:  # a compiled step writes into the stack's own tensors
            return loss
        stack.params, stack.buffers, stack.state = pytree.tree_unflatten(
            carried, self._carried_spec
        )
        return loss


def compiled_in_place(graph: fx.GraphModule, carried: int, inputs: Leaves) -> Callable:
    """Compile a step so that it writes its first `carried` outputs into its first `carried` inputs.

    In place, a stack's tensors cross the caches once a step instead of twice. The graph goes straight to the
    compiler's back end: it is a recording already, and checking so at every call would cost more than a small step.
    """
    nodes = list(graph.graph.nodes)
    homes, end = nodes[:carried], nodes[-1]
    *news, loss = end.args[0]
    with graph.graph.inserting_before(end):
        for home, new in zip(homes, news, strict=True):
            graph.graph.call_function(torch.ops.aten.copy_.default, (home, new))
    end.args = ([loss],)
    graph.recompile()
    return compiled_call(graph, inputs)


def compiled_call(graph: fx.GraphModule, inputs: Leaves) -> Callable[..., Leaves]:
    """A recording as machine code."""
    import torch._inductor  # seconds, and only needed here

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler's own imports
        return cast(Callable, torch._inductor.compile(graph, list(inputs)))


def _record(function: Callable, inputs: Leaves, instead: dict) -> fx.GraphModule:
    """The operations `function` performs, some written as others."""
    with stackable():
        return make_fx(function, tracing_mode="fake", decomposition_table=instead)(*inputs)


def _lerp(old: Tensor, new: Tensor, weight: Tensor) -> Tensor:
    """torch.lerp's formula, so that inf and nan are at its places; the choices between weights are
    hoisted.
    """
    near = weight.abs() < 0.5
    return torch.where(near, old, new) + torch.where(near, weight, weight - 1) * (new - old)


def _expm1(x: Tensor) -> Tensor:
    """exp(x) - 1, which is what the compiler writes for it; near 0 it would lose digits, and a
    series does not.

    The series is cut after x^6 / 6!: where it is taken, what is left out is below the rounding of the type.
    """
    near = x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5 * (1 + x / 6)))))
    return torch.where(x.abs() < (0.01 if x.dtype == torch.float64 else 0.1), near, x.exp() - 1)


# where the step is compiled
CHEAPER = {torch.ops.aten.lerp.Tensor: _lerp, torch.ops.aten.expm1.default: _expm1}


@contextmanager
def stackable() -> Iterator[None]:
    """Turn whatever torch.func says of a module it cannot batch into a sentence on what to do.

    Its warnings of slow fall-backs are left out: how fast the stack is, the probe measures.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(
            f"This module cannot be stacked ({type(error).__name__}: {str(error).splitlines()[0]})",
            allowed="what torch.func.vmap can batch (no sparse embeddings, no control flow on data, no .item())",
            where="replicas",
            instead='engine="plain", or the callable form train(settings, seed) -> losses',
        ) from error
