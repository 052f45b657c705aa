"""The length of a run in examples or tokens, so that runs of all batch sizes see the same data."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from betaplane.errors import BadInput
from betaplane.problems import Problem, Trainer
from betaplane.problems.batch import tensors_in
from betaplane.problems.generators import preserve_generators, seed_generators
from betaplane.problems.snapshot import put_back

BATCHES = 3  # compared, if the tokens of an example are counted in minibatches


def examples_per_run(problem: Problem | Trainer, how: dict[str, Any]) -> int | None:
    """The examples of a run, from `examples` or `tokens`, which are removed; None if neither.

    Raises:
        BadInput: both are given, or steps too; or examples differ in their number of tokens.
    """
    given = {name: how[name] for name in ("steps", "examples", "tokens") if name in how}
    if len(given) > 1:
        raise BadInput(
            "The length of a run is given twice",
            value=", ".join(f"{name}={value}" for name, value in given.items()),
            allowed="one of steps, examples and tokens",
            where="plan",
            instead="examples=100_000",
        )
    tokens = how.pop("tokens", None)
    if tokens is not None:
        return max(1, tokens // tokens_per_example(problem))
    return how.pop("examples", None)


def tokens_per_example(problem: Problem | Trainer) -> int:
    """The number of tokens of an example: the second dimension of integer inputs.

    Raises:
        BadInput: examples have no tokens, or not the same number.
    """
    counts: set[int] = set()
    if isinstance(problem, Problem):
        inputs = [problem.inputs] if problem.data is None else _first_inputs(problem)
        counts = {_tokens(tensor) for tensor in inputs}
    if len(counts) != 1 or 0 in counts:
        raise BadInput(
            "The tokens of an example cannot be counted",
            value="no tensor of tokens" if len(counts) < 2 else f"{min(counts)} to {max(counts)}",
            allowed="integer inputs of shape (batch, tokens), the same number for all examples",
            where="tokens",
            instead="examples=100_000",
        )
    return counts.pop()


def _tokens(tensor: Tensor | None) -> int:
    if tensor is None or tensor.dim() < 2 or tensor.is_floating_point() or tensor.is_complex():
        return 0
    return 0 if tensor.dtype is torch.bool else tensor.shape[1]


def _first_inputs(problem: Problem) -> list[Tensor | None]:
    """The first tensor of tokens of each of the first minibatches."""
    with preserve_generators(), put_back(data=problem.data):
        seed_generators(0)
        batches = problem.batches(problem.batch_size, seed=0)
        tensors = [tensors_in(next(batches)) for _ in range(BATCHES)]
    return [next((t for t in batch if _tokens(t)), None) for batch in tensors]
