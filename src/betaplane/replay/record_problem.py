"""Record the gradients of a problem: train it for a while, then pass over its data; or record while
it trains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from betaplane.errors import BadInput, expect, expect_function
from betaplane.optim.from_rule import host_optimizer
from betaplane.problems import Problem, minibatches
from betaplane.replay.gradients import Gradients
from betaplane.replay.recorder import Recorder
from betaplane.rules import Adam
from betaplane.theory._validation import check_integers
from betaplane.theory.schedules import multipliers

MOST = 10**9  # steps to train before

Watch = Callable[[int, int], None]  # steps done, of how many


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
    """Train a problem with Adam's defaults, then record its gradients, with the weights frozen or
    moving on.

    Args:
        problem: what is trained.
        coordinates: how many are recorded; see `record_gradients`.
        steps: rows to record, >= 2; whole epochs of them where one fits, so that the mean gradient is the full one.
        after: steps to train before, 0 to 10^9, at the problem's lr and schedule.
        live: record while training goes on, rather than at the weights reached.
        batch_size: examples of a recorded minibatch; the problem's own if left out.
        seed: of initialisation, minibatches and the draw of coordinates, in [-2**63, 2**63).
        watch: told how far it is.

    Returns:
        The stream, with the problem's name in `about`.

    Raises:
        BadInput: numbers out of range.

    Example:
        >>> from betaplane.problems import counterexample
        >>> record_problem(counterexample(n=4), steps=6).values[:, 0].tolist()
        [4.0, -1.0, -1.0, -1.0]
    """
    expect(problem, Problem, "problem", 'betaplane.load("digits")')
    expect_function(watch, "watch", "watch=print", "record_problem", takes=2)
    check_integers("record_problem", after=(after, 0), seed=(seed, -(2**63)))
    if seed >= 2**63:
        where = "record_problem"
        raise BadInput(
            "The seed is too large",
            value=seed,
            allowed="[-2**63, 2**63)",
            where=where,
            instead="seed=0",
        )
    if after > MOST:
        where, instead = "record_problem", "after=1000"
        raise BadInput(
            "after is out of range",
            value=after,
            allowed=f"0 to {MOST:,}",
            where=where,
            instead=instead,
        )
    recorded = problem if batch_size is None else problem.with_(batch_size=batch_size)
    steps = _whole_epochs(recorded, steps)
    module, rows = problem.fresh(seed), (steps if live else 0)
    record = Recorder(module, coordinates, steps, recorded.batch_size, after, seed)
    record.close()
    optimizer = host_optimizer(Adam(), list(module.parameters()), problem.lr)
    mult = multipliers(problem.schedule, max(problem.steps, after + rows), problem.warmup)
    total = after + steps
    for done, batch in enumerate(_batches(problem, recorded, after, total, seed)):
        moving = live or done < after
        found = _gradients(problem, module, *batch, (seed * 1_000_003 + done) % 2**63)
        if done >= after:
            record.take(found)
        if moving:
            _step(problem, module, optimizer, found, problem.lr * float(mult[done]))
        watch(done + 1, total)
    stream = record.stream()
    return stream.with_(
        frozen=not live, about={**stream.about, "problem": problem.name, "order": problem.order}
    )


def _whole_epochs(problem: Problem, steps: int) -> int:
    """Steps rounded down to whole epochs; unchanged where examples are drawn independently or none
    fits.
    """
    n, b = problem.examples, problem.batch_size
    period = n // math.gcd(n, b) if problem.order == "cyclic" else n // b
    return (
        steps // period * period
        if 2 <= period <= steps and problem.order != "replacement"
        else steps
    )


def _batches(
    problem: Problem, recorded: Problem, after: int, total: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Minibatches to train on, then those to record; the recorded stream begins with an epoch of
    its own.
    """
    for which, count, own in ((problem, after, seed), (recorded, total - after, seed + 1)):
        draws = minibatches(which.examples, which.batch_size, which.order, own, block=1)
        for _ in range(count):
            index = next(draws)[0]
            yield which.inputs[index], which.targets[index]


def _gradients(
    problem: Problem, module: nn.Module, x: Tensor, y: Tensor, seed: int
) -> dict[str, Tensor | None]:
    named = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if problem.gradient is not None:
        with torch.no_grad():
            found, _ = problem.gradient(named, x, y)
        return {name: found[name].reshape(p.shape) for name, p in named.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of dropout
        loss = problem.loss(module(x), y)
    return dict(
        zip(named, torch.autograd.grad(loss, [*named.values()], allow_unused=True), strict=True)
    )


def _step(
    problem: Problem,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    found: dict[str, Tensor | None],
    lr: float,
) -> None:
    for name, p in module.named_parameters():
        p.grad = found.get(name)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    if problem.constrain is not None:
        with torch.no_grad():
            for p in module.parameters():
                p.copy_(problem.constrain(p))
