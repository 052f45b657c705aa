"""What a problem is, in 16 hex digits: results of two problems are never mixed in one store."""

from __future__ import annotations

import hashlib
import inspect

import torch
from torch import Tensor, nn

from betaplane.problems.captured import captured
from betaplane.problems.contents import hashed, leaf_of, seeded
from betaplane.problems.generators import generators_kept, seed_generators
from betaplane.problems.problem import Problem, Trainer
from betaplane.problems.snapshot import put_back

WHOLE = 64 * 2**20  # bytes; of larger tensors betaplane 0.1 hashed a sample


def fingerprint(problem: Problem | Trainer, *, former: bool = False) -> str:
    """The identity of a problem by what it does, not by how its source is written.

    Of a Problem: name, parameters and buffers at seed 0 (norms to 4 digits), every bit of the data, the tensors and
    numbers that the loss refers to, order, schedule, warmup, whether it constrains and has a gradient of its own, and
    loss and gradient norm at seed 0 on the first 32 examples, to 4 digits. Not batch size, steps and learning rate: a
    map may vary them. Of a Trainer: name, defaults and the source of its train function.

    Args:
        problem: the problem.
        former: return the fingerprint as betaplane 0.1 made it, without buffers, norms and what the loss refers to.

    Example:
        >>> from betaplane.problems.counterexample import counterexample
        >>> fingerprint(counterexample()) == fingerprint(counterexample(steps=5, lr=0.1))
        True
        >>> fingerprint(counterexample()) == fingerprint(counterexample(a=0.5))
        False
    """
    with torch.random.fork_rng(devices=[]), seeded():  # of dropout and its kind
        torch.manual_seed(0)
        facts = (
            _of_trainer(problem) if isinstance(problem, Trainer) else _of_problem(problem, former)
        )
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _of_trainer(trainer: Trainer) -> tuple:
    try:
        source = inspect.getsource(trainer.train)
    except (OSError, TypeError):
        source = ""
    return (
        trainer.name,
        sorted(trainer.defaults.items()),
        hashlib.sha256(source.encode()).hexdigest(),
    )


def _of_problem(problem: Problem, former: bool) -> tuple:
    with generators_kept(), put_back(**problem.functions):
        seed_generators(0)
        module = problem.make()
        parameters = [(name, tuple(p.shape), str(p.dtype)) for name, p in module.named_parameters()]
        details = () if former else _details(problem, module)
        loss = problem.loss(module(problem.inputs[:32].clone()), problem.targets[:32].clone())
        loss.backward()
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        norm = sum(float(g.abs().double().square().sum()) for g in gradients) ** 0.5
        module.zero_grad()
    return (
        problem.name,
        parameters,
        _hashed(problem.inputs),
        _hashed(problem.targets),
        problem.order,
        problem.schedule,
        problem.warmup,
        problem.constrain is not None,
        problem.gradient is not None,
        f"{loss.detach().item():.3e}",
        f"{norm:.3e}",
        *details,
    )


def _details(problem: Problem, module: nn.Module) -> tuple:
    """What betaplane 0.1 did not look at."""
    held = [*module.named_parameters(), *module.named_buffers()]
    norms = [(name, str(t.dtype), f"{_norm(t):.3e}") for name, t in held]
    constants = sorted(
        (name, leaf_of(value).digest) for name, value in captured("loss", problem.loss)
    )
    return norms, constants, hashed(problem.inputs), hashed(problem.targets)


def _norm(t: Tensor) -> float:
    return float(
        torch.linalg.vector_norm(
            t.detach().to(torch.complex128 if t.is_complex() else torch.float64)
        )
    )


def _hashed(data: Tensor) -> tuple[tuple[int, ...], str, str]:
    """Shape, dtype and sha256 of the data, or of evenly spaced rows of about WHOLE bytes."""
    stride = -(-data.nbytes // WHOLE) or 1
    sample = data[::stride].detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return tuple(data.shape), str(data.dtype), hashlib.sha256(sample.numpy().data).hexdigest()
