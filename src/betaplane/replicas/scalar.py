"""Machine code for stacks of tiny problems: whole windows of steps in one call of generated C.

A recorded step of a problem with a few unknowns costs microseconds of calls per operation, and
nanoseconds of arithmetic. So the step of one replica is written as C, with a loop over steps and
over replicas around it. Everything else is the stacked engine's.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._decomp import get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from betaplane.optim.codegen.build import NoCompiler, load_library
from betaplane.problems.generators import preserve_generators
from betaplane.problems.problem import Problem
from betaplane.replicas.objective import isolated
from betaplane.replicas.run import Options, Outcome, Run
from betaplane.replicas.scalar_code import C_TYPES, CodeWriter, Unsupported, aten
from betaplane.replicas.stack import Stack
from betaplane.replicas.stacked import Training
from betaplane.replicas.trace import replica_step
from betaplane.replicas.unfinished import UnfinishedRuns
from betaplane.rules._rule import Rule

MAX_ELEMENTS = 32  # of the parameters and of a minibatch
# written as simpler operations, which have C code
DECOMPOSED = get_decompositions(
    [
        aten.addmm, aten.addmv, aten.mse_loss, aten.mse_loss_backward, aten.tanh_backward,
        aten.threshold_backward,
    ]
)  # fmt: skip
POINTER = ctypes.POINTER(ctypes.c_double)
TEMPLATE = """
#include <math.h>
#include <stdint.h>

void run(int64_t replicas, int64_t steps, const double *lrs, const double *x, const double *y,
         const double *hyper, const double *constants, double *carried, double *total) {{
  for (int64_t r = 0; r < replicas; r++) {{
    double *c = carried + r * {carried}, sum = 0;
    const double *h = hyper + r * {hyper};
{load}
    for (int64_t t = 0; t < steps; t++) {{
      const double *xt = x + t * {x}, *yt = y + t * {y};
      const double *lr = lrs + t * replicas + r;
{body}
    }}
{store}
    total[r] = sum;
  }}
}}
"""


def new_training(problem: Problem, runs: Sequence[Run], options: Options) -> Training:
    """The training of a stack: with machine code if the problem is tiny and its step has code, else
    with torch.
    """
    training = ScalarTraining(problem, runs, options)
    training.code = training.generated()
    return training


def stacked_outcomes(
    problem: Problem, runs: Sequence[Run], options: Options, storage: UnfinishedRuns | None = None
) -> list[Outcome]:
    """Train all runs together and return their outcomes in the same order.

    It is only for problems of which `proof` has shown that a stack can train them. The runs share a
    rule, a batch size and a seed. Up to rounding, the outcome of a run does not depend on the other
    runs in the stack.

    Args:
        problem: the problem to train.
        runs: the runs, R >= 1.
        options: options of all runs.
        storage: the state is saved to it at intervals, and resumed from it; None: not saved.

    Raises:
        BadInput: the runs have several batch sizes or seeds, or the problem cannot be stacked.
    """
    with isolated(problem):
        return new_training(problem, runs, options).outcomes(storage)


class ScalarTraining(Training):
    """A stack whose windows are computed by generated C, if it has any."""

    code: ScalarCode | None = None

    def generated(self) -> ScalarCode | None:
        """The compiled code of the step; None if there can be none."""
        options, size = self.options, self.runs[0].batch_size
        if options.compile or options.independent or options.device != "cpu":
            return None
        if self.problem.groups is not None or self.runs[0].own or self.problem.data is not None:
            return None
        unknowns = sum(p[0].numel() for p in self.stack.params.values())
        numbers = size * (self.inputs[:1].numel() + self.targets[:1].numel())
        if max(unknowns, numbers / 2) > MAX_ELEMENTS:
            return None
        x, y = (data[:1].expand(size, *data.shape[1:]) for data in (self.inputs, self.targets))
        try:
            with preserve_generators():
                return ScalarCode(self, x, y)
        except (Unsupported, NoCompiler):
            return None

    def advance(self, lrs: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Take the steps of a window; return the sums of the losses, float64 (R,)."""
        if self.code is None:
            return super().advance(lrs, x, y)
        rules = [self.runs[i].rule for i in self.alive]
        return self.code.run(self.stack, rules, lrs, x, y)


class ScalarCode:
    """The compiled step of one replica, and the layout of its numbers."""

    def __init__(self, training: Training, x: Tensor, y: Tensor) -> None:
        stack = training.stack
        rule = training.runs[0].rule
        self.names = numeric_fields(rule)
        one = stack.select(torch.zeros(1, dtype=torch.int64))
        carried = (one.params, one.buffers, one.state)
        self.leaves, self.spec = pytree.tree_flatten(pytree.tree_map(lambda t: t[0], carried))
        # all hyperparameters are inputs, so that the same code serves every chunk of a map
        hyper = {name: torch.tensor(0.5, dtype=torch.float64) for name in self.names}
        constants = one.constants if one.shared else {n: t[0] for n, t in one.constants.items()}
        lr = one.lr[0].to(next(iter(stack.params.values())).dtype)
        step = replica_step(training.problem, training.objective, training.layout)
        inputs, spec = pytree.tree_flatten(
            (*pytree.tree_unflatten(self.leaves, self.spec), hyper, lr, x, y, constants)
        )

        def flat(*leaves: Tensor) -> list[Tensor]:
            params, buffers, state, loss = step(*pytree.tree_unflatten(leaves, spec))
            return pytree.tree_leaves((params, buffers, state, loss.double()))

        table: Any = DECOMPOSED
        try:
            graph = make_fx(flat, table, tracing_mode="fake")(*inputs)
        except Exception as error:  # the stacked engine reports what torch cannot record
            raise Unsupported(str(error)) from error
        self.constants = _doubles(list(constants.values()))
        self.text = _source(graph, inputs, len(self.leaves), len(hyper), x, y)
        self.function = load_library(self.text, "run").run
        self.function.restype = None

    def run(self, stack: Stack, rules: Sequence[Rule], lrs: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Take the steps of all replicas, each with its rule; the stack is updated."""
        trees = (stack.params, stack.buffers, stack.state)
        leaves, spec = pytree.tree_flatten(trees)
        replicas, steps = len(stack), len(lrs)
        carried = torch.cat([leaf.reshape(replicas, -1).double() for leaf in leaves], dim=1)
        rows = [[*(getattr(rule, name) for name in self.names), 0.0] for rule in rules]
        hyper = torch.tensor(rows, dtype=torch.float64)
        total = torch.zeros(replicas, dtype=torch.float64)
        inputs = [t.double().contiguous() for t in (lrs, x, y, hyper, self.constants)]
        pointers = [ctypes.cast(t.data_ptr(), POINTER) for t in (*inputs, carried, total)]
        self.function(ctypes.c_int64(replicas), ctypes.c_int64(steps), *pointers)
        columns = carried.split([leaf[0].numel() for leaf in leaves], dim=1)
        new = [
            column.to(leaf.dtype).reshape(leaf.shape)
            for column, leaf in zip(columns, leaves, strict=True)
        ]
        stack.params, stack.buffers, stack.state = pytree.tree_unflatten(new, spec)
        return total


def numeric_fields(rule: Rule) -> list[str]:
    """The hyperparameters of a rule, and the peak of the learning rate if it uses it."""
    peak = [name for name in ("peak_lr",) if isinstance(getattr(rule, name, None), float)]
    return [*rule.hyperparameters(), *peak]


def _doubles(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([torch.zeros(1), *(t.detach().reshape(-1) for t in tensors)]).double()


def _source(
    graph: Any, inputs: Sequence[Tensor], carried: int, hyper: int, x: Tensor, y: Tensor
) -> str:
    """The C program: the first inputs are carried from step to step, then come hyperparameters."""
    arrays = _input_arrays(inputs, carried, hyper)
    writer = CodeWriter(arrays)
    *new, loss = [text for array in writer.write(graph.graph) for text in array.ravel()]
    names = [name for array in arrays[:carried] for name in array.ravel()]
    kinds = [C_TYPES[t.dtype] for t in inputs[:carried] for _ in range(t.numel())]
    load = [
        f"{kind} {n} = ({kind})c[{i}];"
        for i, (kind, n) in enumerate(zip(kinds, names, strict=True))
    ]
    store = [f"c[{i}] = {name};" for i, name in enumerate(names)]
    body = [*writer.lines, f"sum += {loss};"]
    body += [f"const double n{i} = {text};" for i, text in enumerate(new)]
    body += [f"{name} = n{i};" for i, name in enumerate(names)]
    return TEMPLATE.format(
        carried=len(names),
        hyper=hyper + 1,
        x=x.numel(),
        y=y.numel(),
        load=_indented(load, 4),
        store=_indented(store, 4),
        body=_indented(body, 6),
    )


def _input_arrays(inputs: Sequence[Tensor], carried: int, hyper: int) -> list[np.ndarray]:
    """The C expressions of the elements of each input, in its shape."""
    pointers = ["c"] * carried + ["h"] * hyper + ["lr", "xt", "yt"]
    pointers += ["constants"] * (len(inputs) - len(pointers))
    used = Counter(constants=1)  # the first of `constants` is padding
    arrays = []
    for pointer, tensor in zip(pointers, inputs, strict=True):
        if tensor.dtype not in C_TYPES:
            raise Unsupported(str(tensor.dtype))
        places = range(used[pointer], used[pointer] + tensor.numel())
        text = "c{0}" if pointer == "c" else f"(({C_TYPES[tensor.dtype]}){pointer}[{{0}}])"
        texts = np.array([text.format(place) for place in places], dtype=object)
        arrays.append(texts.reshape(tuple(tensor.shape)))
        used[pointer] += tensor.numel()
    return arrays


def _indented(lines: Sequence[str], spaces: int) -> str:
    return "\n".join(" " * spaces + line for line in lines)
