"""Prove that the runs of a problem do not depend on their seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor

from betaplane.problems.generators import generator_states, seed_generators
from betaplane.problems.problem import Problem
from betaplane.replicas.objective import isolated
from betaplane.replicas.run import Options, Run
from betaplane.replicas.short_runs import NotProved, affordable_steps, run_plain

SEEDS = (0, 1)  # of the runs that are compared


def is_same_for_all_seeds(problem: Problem, run: Run, options: Options) -> bool:
    """Whether every seed gives the same run, to the last bit.

    A seed sets the order of the minibatches and the global generators, nothing else. So there must
    be one order of the minibatches, and nothing may be drawn, neither when the module is made nor
    in the steps. As a check, the modules and short runs of two seeds are compared bit by bit: the
    module may read the seed without drawing.

    It is only for problems of which `proof` has shown that a stack can train them: all their steps
    are the same operations, so that none draws later.

    Args:
        problem: the problem to train.
        run: one of its runs.
        options: options of the runs.
    """
    if options.independent or not _has_one_order(problem):
        return False
    first, second = (_initialization(problem, seed) for seed in SEEDS)
    if first is None or second is None or not _are_identical(first, second):
        return False
    options = replace(options, early_stop=False, compile=False, points=2, judge="loss")
    return _has_same_short_runs(problem, replace(run, steps=None), options)


def _has_one_order(problem: Problem) -> bool:
    """Whether the minibatches of all seeds are the same; held-out data must not be drawn either."""
    if problem.data is not None or problem.validation is not None:
        return False
    return problem.order == "cyclic" or problem.examples == 1


def _initialization(problem: Problem, seed: int) -> dict[str, Tensor] | None:
    """The tensors of a new module; None if it draws random numbers."""
    with isolated(problem):
        seed_generators(seed)
        before = generator_states()
        module = problem.make()
        if generator_states().differences(before):
            return None
        tensors = chain(module.named_parameters(), module.named_buffers())
        return {name: tensor.detach().clone() for name, tensor in tensors}


def _has_same_short_runs(problem: Problem, run: Run, options: Options) -> bool:
    """Whether short runs of two seeds draw nothing and end alike."""
    try:
        short = problem.with_(steps=affordable_steps(problem.with_(steps=1), run, options))
        first, second = (run_plain(short, replace(run, seed=seed), options) for seed in SEEDS)
    except NotProved:
        return False
    return not (first.draws or second.draws) and _are_identical(first.values, second.values)


def _are_identical(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    """Whether tensors have the same names, dtypes, shapes and bits."""
    return ours.keys() == theirs.keys() and all(
        tensor.dtype == theirs[name].dtype
        and tensor.shape == theirs[name].shape
        and torch.equal(_bits(tensor), _bits(theirs[name]))
        for name, tensor in ours.items()
    )


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)
