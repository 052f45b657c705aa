"""Record the gradients of a problem: train it, then pass over its data with frozen weights, or
record during training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from betaplane.errors import BadInput, expect, expect_function
from betaplane.optim.from_rule import host_optimizer
from betaplane.problems import Problem
from betaplane.problems.generators import preserve_generators, seed_generators
from betaplane.problems.snapshot import put_back
from betaplane.replay.gradients import Gradients
from betaplane.replay.recorder import Recorder
from betaplane.rules import Adam
from betaplane.theory._validation import check_integers
from betaplane.theory.schedules import multipliers

MAX_STEPS_BEFORE = 10**9  # of training before the recording

Watch = Callable[[int, int], None]  # called with: finished steps, all steps


def record_problem(
    problem: Problem,
    coordinates: int = 20_000,
    steps: int = 512,
    *,
    after: int = 0,
    live: bool = False,
    batch_size: int | None = None,
    seed: int = 0,
    watch: Watch = lambda done, of: None,
) -> Gradients:
    """Train a problem with Adam's defaults, then record its gradients, with frozen or moving weights.

    Args:
        problem: what is trained.
        coordinates: number of recorded coordinates; see `record_gradients`.
        steps: rows to record, >= 2; rounded down to whole epochs if one fits, so that the mean
            gradient is that of the full data.
        after: steps of training before the recording, 0 to 10^9, at the problem's lr and schedule.
        live: continue training while recording, instead of freezing the weights.
        batch_size: examples per recorded minibatch; by default the problem's own.
        seed: of initialization, minibatches and the sample of coordinates, in [-2**63, 2**63).
        watch: called with the number of finished steps and of all.

    Returns:
        The stream, with the problem's name in `about`.

    Raises:
        BadInput: a number is out of range.

    Example:
        >>> from betaplane.problems import counterexample
        >>> record_problem(counterexample(n=4), steps=6).values[:, 0].tolist()
        [4.0, -1.0, -1.0, -1.0]
    """
    expect(problem, Problem, "problem", 'betaplane.load("digits")')
    expect_function(watch, "watch", "watch=print", "record_problem", takes=2)
    check_integers("record_problem", after=(after, 0), seed=(seed, -(2**63)))
    _check_upper_bounds(after, seed)
    recorded = problem if batch_size is None else problem.with_(batch_size=batch_size)
    steps = _whole_epochs(recorded, steps)
    module = problem.fresh(seed)
    record = Recorder(module, coordinates, steps, recorded.batch_size, after, seed)
    record.close()
    optimizer = host_optimizer(Adam(), list(module.parameters()), problem.lr)
    trained = after + steps if live else after
    lr_factors = multipliers(problem.schedule, max(problem.steps, trained), problem.warmup)
    total = after + steps
    with preserve_generators(), put_back(data=problem.data):
        seed_generators(seed)  # from which data may draw
        for t, batch in enumerate(_batches(problem, recorded, after, total, seed)):
            gradients = _gradients(problem, module, batch, (seed * 1_000_003 + t) % 2**63)
            if t >= after:
                record.take(gradients)
            if t < trained:
                _step(problem, module, optimizer, gradients, problem.lr * float(lr_factors[t]))
            watch(t + 1, total)
    stream = record.stream()
    return stream.with_(
        frozen=not live, about={**stream.about, "problem": problem.name, "order": problem.order}
    )


def _check_upper_bounds(after: int, seed: int) -> None:
    if seed >= 2**63:
        raise BadInput(
            "The seed is too large",
            value=seed,
            allowed="[-2**63, 2**63)",
            where="record_problem",
            instead="seed=0",
        )
    if after > MAX_STEPS_BEFORE:
        raise BadInput(
            "after is out of range",
            value=after,
            allowed=f"0 to {MAX_STEPS_BEFORE:,}",
            where="record_problem",
            instead="after=1000",
        )


def _whole_epochs(problem: Problem, steps: int) -> int:
    """Steps rounded down to whole epochs; unchanged if examples are sampled independently or no
    epoch fits.
    """
    if problem.data is not None:
        return steps
    n, b = problem.examples, problem.batch_size
    period = n // math.gcd(n, b) if problem.order == "cyclic" else n // b
    if problem.order == "replacement" or not 2 <= period <= steps:
        return steps
    return steps // period * period


def _batches(
    problem: Problem, recorded: Problem, after: int, total: int, seed: int
) -> Iterator[Any]:
    """Minibatches to train on, then those to record; the recorded ones start with a new epoch."""
    for source, count, own_seed in ((problem, after, seed), (recorded, total - after, seed + 1)):
        yield from islice(source.batches(source.batch_size, own_seed), count)


def _gradients(
    problem: Problem, module: nn.Module, batch: Any, seed: int
) -> dict[str, Tensor | None]:
    named = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if problem.gradient is not None:
        with torch.no_grad():
            gradients, _ = problem.gradient(named, *batch)
        return {name: gradients[name].reshape(p.shape) for name, p in named.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for dropout
        loss = problem.loss_of(module, batch)
    gradients = torch.autograd.grad(loss, [*named.values()], allow_unused=True)
    return dict(zip(named, gradients, strict=True))


def _step(
    problem: Problem,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    gradients: dict[str, Tensor | None],
    lr: float,
) -> None:
    for name, p in module.named_parameters():
        p.grad = gradients.get(name)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    if problem.constrain is not None:
        with torch.no_grad():
            for p in module.parameters():
                p.copy_(problem.constrain(p))
