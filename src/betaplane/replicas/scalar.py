"""Machine code for stacks of tiny problems: whole windows of steps in one call of generated C.

A recorded step of a problem with a few unknowns costs microseconds of calls per operation, and
nanoseconds of arithmetic. So the step of one replica is written as C, with a loop over steps and
over replicas around it. Everything else is the stacked engine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from betaplane.optim.codegen.build import NoCompiler
from betaplane.problems.generators import preserve_generators
from betaplane.problems.problem import Problem
from betaplane.replicas.objective import isolated
from betaplane.replicas.run import Options, Outcome, Run
from betaplane.replicas.scalar_code import Unsupported
from betaplane.replicas.scalar_loop import ScalarLoop
from betaplane.replicas.scalar_value import ScalarValue
from betaplane.replicas.stack import Stack
from betaplane.replicas.stacked import Training
from betaplane.replicas.trace import replica_step
from betaplane.replicas.unfinished import UnfinishedRuns
from betaplane.rules._rule import Rule

MAX_ELEMENTS = 32  # of the parameters and of a minibatch
MAX_DATA_ELEMENTS = 256  # of all examples whose loss is computed by generated code
CHECKED_VALUES = 2  # generated losses that are compared with torch's before they are trusted
CHECK_TOLERANCE = 1e-5  # relative; in float32 the order of a sum matters


def new_training(problem: Problem, runs: Sequence[Run], options: Options) -> Training:
    """The training of a stack: with machine code if the problem is tiny and its step has code, else
    with torch.
    """
    training = ScalarTraining(problem, runs, options)
    if training.is_tiny:
        training.code, training.value = generated_code(training)
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
    value: ScalarValue | None = None
    checked_values = 0

    @property
    def is_tiny(self) -> bool:
        """Whether code may be generated: a few elements, and nothing but the rule's own settings."""
        options, size = self.options, self.runs[0].batch_size
        if options.compile or options.independent or options.device != "cpu":
            return False
        if self.problem.groups is not None or self.runs[0].own or self.problem.data is not None:
            return False
        unknowns = sum(p[0].numel() for p in self.stack.params.values())
        numbers = size * (self.inputs[:1].numel() + self.targets[:1].numel())
        return max(unknowns, numbers / 2) <= MAX_ELEMENTS

    def advance(self, lrs: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Take the steps of a window; return the sums of the losses, float64 (R,)."""
        if self.code is None:
            return super().advance(lrs, x, y)
        rules = [self.runs[i].rule for i in self.alive]
        return self.code.run(self.stack, rules, lrs, x, y)

    def _full_value(self) -> np.ndarray:
        """The loss on all examples by generated code, after its first values agreed with torch's."""
        if self.value is None or self.options.judge == "gradient-norm":
            return super()._full_value()
        losses = self.value(self.stack, self.inputs, self.targets)
        if self.checked_values == CHECKED_VALUES:
            return losses
        self.checked_values += 1
        reference = super()._full_value()
        if not np.allclose(losses, reference, rtol=CHECK_TOLERANCE, atol=0.0, equal_nan=True):
            self.value = None
        return reference


Code = tuple["ScalarCode | None", ScalarValue | None]
# by problem, then by what the code of a step depends on beside it
GENERATED: WeakKeyDictionary[Problem, dict[tuple, Code]] = WeakKeyDictionary()


def generated_code(training: ScalarTraining) -> Code:
    """The code of the step, and that of the loss on all examples; None for what has no code.

    It is generated once per problem, batch size and rule, since hyperparameters are inputs of the
    code; and once per seed if the problem is the user's, whose module may contain numbers drawn from
    it.
    """
    run, kept = training.runs[0], GENERATED.setdefault(training.problem, {})
    fixed = tuple(item for item in run.rule.options().items() if not isinstance(item[1], float))
    seed = None if training.problem.family else run.seed
    key = type(run.rule), fixed, seed, run.batch_size, training.stack.lr.dim()
    if key not in kept:
        kept[key] = _generated(training)
    return kept[key]


def _generated(training: ScalarTraining) -> Code:
    size, data = training.runs[0].batch_size, (training.inputs, training.targets)
    x, y = (tensor[:1].expand(size, *tensor.shape[1:]) for tensor in data)
    step = value = None
    with preserve_generators(), suppress(Unsupported, NoCompiler):
        step = ScalarCode(training, x, y)
        if training.problem.record == "full" and data[0].numel() <= MAX_DATA_ELEMENTS:
            value = ScalarValue(training)
    return step, value


class ScalarCode:
    """The compiled step of one replica, and the layout of its numbers."""

    def __init__(self, training: Training, x: Tensor, y: Tensor) -> None:
        stack = training.stack
        self.names = numeric_fields(training.runs[0].rule)
        one = stack.select(torch.zeros(1, dtype=torch.int64))
        carried = pytree.tree_map(lambda t: t[0], (one.params, one.buffers, one.state))
        leaves, spec = pytree.tree_flatten(carried)
        # all hyperparameters are inputs, so that the same code serves every chunk of a map
        hyper = {name: torch.tensor(0.5, dtype=torch.float64) for name in self.names}
        constants = one.constants if one.shared else {n: t[0] for n, t in one.constants.items()}
        lr = one.lr[0].to(next(iter(stack.params.values())).dtype)
        step = replica_step(training.problem, training.objective, training.layout)
        inputs, whole = pytree.tree_flatten(
            (*pytree.tree_unflatten(leaves, spec), hyper, lr, x, y, constants)
        )

        def flat(*leaves: Tensor) -> list[Tensor]:
            params, buffers, state, loss = step(*pytree.tree_unflatten(leaves, whole))
            return pytree.tree_leaves((params, buffers, state, loss.double()))

        self.loop = ScalarLoop(flat, inputs, len(leaves), len(hyper), x, y, constants)

    def run(self, stack: Stack, rules: Sequence[Rule], lrs: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Take the steps of all replicas, each with its rule; the stack is updated."""
        leaves, spec = pytree.tree_flatten((stack.params, stack.buffers, stack.state))
        rows = [[*(getattr(rule, name) for name in self.names), 0.0] for rule in rules]
        new, total = self.loop.run(leaves, lrs, x, y, torch.tensor(rows, dtype=torch.float64))
        stack.params, stack.buffers, stack.state = pytree.tree_unflatten(new, spec)
        return total


def numeric_fields(rule: Rule) -> list[str]:
    """The hyperparameters of a rule, and the peak of the learning rate if it uses it."""
    peak = [name for name in ("peak_lr",) if isinstance(getattr(rule, name, None), float)]
    return [*rule.hyperparameters(), *peak]
