"""The fingerprint of a problem: 16 hex digits under which a store keeps its runs."""

from __future__ import annotations

import hashlib
import inspect
from typing import Any

import torch
from torch import Tensor, nn

from betaplane.problems.captured import captured_values
from betaplane.problems.contents import contents_of_data, leaf_of, seeded, tensor_digest
from betaplane.problems.generators import preserve_generators, seed_generators
from betaplane.problems.groups import groups_at_fixed_settings
from betaplane.problems.problem import Problem, Trainer
from betaplane.problems.snapshot import put_back

MAX_HASHED_BYTES = 64 * 2**20  # of larger tensors betaplane 0.1 hashed a sample


def fingerprint(problem: Problem | Trainer, *, former: bool = False) -> str:
    """A digest of what a problem computes, independent of how its source is written.

    For a Problem it covers the name, parameters and buffers at seed 0 (norms to 4 digits), every
    bit of the data, and the tensors and numbers that the loss refers to. It also covers order,
    schedule, warmup, whether `constrain` and `gradient` are set, and the loss and gradient norm at
    seed 0 on the first 32 examples, to 4 digits. Batch size, steps and learning rate are omitted,
    since a map may vary them. For a Trainer it covers the name, the defaults and the source of the
    train function, or the command, its loss and the scripts that it names.

    Args:
        problem: the problem.
        former: return the fingerprint as betaplane 0.1 computed it, without buffers, norms and the
            values that the loss refers to.

    Example:
        >>> from betaplane.problems.counterexample import counterexample
        >>> fingerprint(counterexample()) == fingerprint(counterexample(steps=5, lr=0.1))
        True
        >>> fingerprint(counterexample()) == fingerprint(counterexample(a=0.5))
        False
    """
    with torch.random.fork_rng(devices=[]), seeded():  # for dropout and similar layers
        torch.manual_seed(0)
        facts = (
            _of_trainer(problem) if isinstance(problem, Trainer) else _of_problem(problem, former)
        )
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _of_trainer(trainer: Trainer) -> tuple:
    command = trainer.command
    source = command.fingerprint() if command else _source(trainer.train)
    # the steps of a command are part of the keys of its runs
    skipped = ("steps",) if trainer.command else ()
    return (
        trainer.name,
        sorted((name, value) for name, value in trainer.defaults.items() if name not in skipped),
        hashlib.sha256(source.encode()).hexdigest(),
    )


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return ""


def _of_problem(problem: Problem, former: bool) -> tuple:
    with preserve_generators(), put_back(**problem.functions):
        seed_generators(0)
        module = problem.make()
        parameters = [(name, tuple(p.shape), str(p.dtype)) for name, p in module.named_parameters()]
        details = () if former else _details(problem, module)
        loss = problem.loss_of(module, _first_batch(problem))
        loss.backward()
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        norm = sum(float(g.abs().double().square().sum()) for g in gradients) ** 0.5
        module.zero_grad()
    return (
        problem.name,
        parameters,
        *_group_facts(problem, module),
        *_data_facts(problem),
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
    """The facts that betaplane 0.1 did not include."""
    tensors = [*module.named_parameters(), *module.named_buffers()]
    norms = [(name, str(t.dtype), f"{_norm(t):.3e}") for name, t in tensors]
    constants = sorted(
        (name, leaf_of(value).digest) for name, value in captured_values("loss", problem.loss)
    )
    if problem.data is not None:
        return norms, constants
    return norms, constants, tensor_digest(problem.inputs), tensor_digest(problem.targets)


def _group_facts(problem: Problem, module: nn.Module) -> tuple:
    """The parameter groups of the user, at fixed settings; nothing without them."""
    if problem.groups is None:
        return ()
    groups = groups_at_fixed_settings(problem, module)
    return ([(g.name, g.params, sorted(g.settings.items())) for g in groups],)


def _first_batch(problem: Problem) -> Any:
    if problem.data is None:
        return problem.inputs[:32].clone(), problem.targets[:32].clone()
    return next(problem.batches(problem.batch_size, seed=0))


def _data_facts(problem: Problem) -> tuple:
    """Data in memory as they are; of other data the number of examples, what they contain and the
    first minibatch.
    """
    if problem.data is None:
        return _hashed(problem.inputs), _hashed(problem.targets)
    return problem.examples, *sorted(
        (name, leaf.digest) for name, leaf in contents_of_data(problem).items()
    )


def _norm(t: Tensor) -> float:
    dtype = torch.complex128 if t.is_complex() else torch.float64
    return float(torch.linalg.vector_norm(t.detach().to(dtype)))


def _hashed(tensor: Tensor) -> tuple[tuple[int, ...], str, str]:
    """Shape, dtype and sha256 of the data, or of evenly spaced rows of at most MAX_HASHED_BYTES."""
    stride = -(-tensor.nbytes // MAX_HASHED_BYTES) or 1
    sample = tensor[::stride].detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return tuple(tensor.shape), str(tensor.dtype), hashlib.sha256(sample.numpy().data).hexdigest()
