"""Prove that a stack trains a problem as the plain engine does, before it is used.

A recorded step repeats tensor operations, not Python. So the plain engine trains a few short runs,
step by step, while everything that a stack does not carry is watched: Python state, random numbers
from Python and NumPy, writes, hooks. If nothing of that moves in a step, no later step can differ
in it. Then a stack trains the same runs, and everything that is carried is compared.
"""

from __future__ import annotations

import copy
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from betaplane.errors import BadInput
from betaplane.problems.generators import GeneratorStates, generator_states, preserve_generators
from betaplane.problems.problem import Problem
from betaplane.problems.snapshot import Snapshot, put_back
from betaplane.replicas.objective import on_its_own
from betaplane.replicas.plain import PlainTraining
from betaplane.replicas.run import Options, Run
from betaplane.replicas.stacked import Training
from betaplane.replicas.unstackable import frame, observed, structure

STEPS = (3, 16)  # of a run of the proof: at least, at most
SECONDS = 0.6  # that the plain steps may take
LOSSES = ("the initial loss", "the losses")  # names of values that are no tensors of the objective
NEAR = {torch.float32: 1e-5, torch.float64: 1e-9}  # relative tolerance, and absolute
FACTOR = 10.0  # by which a stack's rounding errors may exceed the plain engine's

_proved: weakref.WeakKeyDictionary[Problem, dict[tuple, str]] = weakref.WeakKeyDictionary()


class NotProved(Exception):
    """The text says why a stack may train another problem, as what comes after "because"."""


class Differs(NotProved):
    """A stack reaches other values, which a run whose rounding errors grow does too."""


@dataclass
class Trained:
    """What a short run ended with."""

    values: dict[str, Tensor]  # losses, parameters and buffers, by name
    generators: GeneratorStates
    draws: bool = False  # whether it drew random numbers from torch


def why_plain(problem: Problem, run: Run, options: Options) -> str:
    """Why a problem cannot be stacked, as what comes after "because"; "" if it is proved that it
    can.

    Args:
        problem: what is to be trained.
        run: one of its runs; another is derived from it.
        options: of the runs; `compile` and `points` do not matter.
    """
    known = _proved.setdefault(problem, {})
    key = (type(run.rule), run.batch_size, options.independent, options.device)
    if key not in known:
        try:
            prove(problem, run, options)
            known[key] = ""
        except NotProved as reason:
            known[key] = str(reason)
    return known[key]


def prove(problem: Problem, run: Run, options: Options, replicas: int = 2) -> float:
    """Compare the engines; returns the run-steps per second of a stack of some replicas.

    Raises:
        NotProved: the problem cannot be stacked.
    """
    options = replace(options, early_stop=False, compile=False, points=2)
    try:
        return _prove(problem, _calm(run, 1.0), options, replicas)
    except Differs:
        return _prove(problem, _calm(run, 0.01), options, replicas)


def _calm(run: Run, lr_factor: float) -> Run:
    """The run at the rule's default hyperparameters: at others, as beta2 = 0, rounding errors may
    grow step by step.
    """
    usual = type(run.rule)()
    numbers = {name: getattr(usual, name) for name in run.rule.hyperparameters()}
    return replace(run, rule=replace(run.rule, **numbers), lr=lr_factor * run.lr)


def _prove(problem: Problem, run: Run, options: Options, replicas: int) -> float:
    short = problem.with_(steps=_watched(problem.with_(steps=1), run, options))
    runs = _two(run)
    plain = [_plain(short, each, options) for each in runs]
    if _differs(plain[0], _plain(short, run, options), 0.0):
        raise NotProved("two runs of one seed differ")
    _plain(short.with_(steps=STEPS[0]), replace(run, seed=run.seed + 1), options)
    stacked, rate = _stacked(short, runs * max(1, replicas // 2), options)
    _compare(short, runs, options, plain, stacked)
    return rate


def _two(run: Run) -> list[Run]:
    """The run, and one of other settings: its first hyperparameter and learning rate are half as
    large.
    """
    name = next(iter(run.rule.hyperparameters()), None)
    rule = replace(run.rule, **{name: getattr(run.rule, name) / 2}) if name else run.rule
    return [run, replace(run, rule=rule, lr=run.lr / 2)]


def _watched(problem: Problem, run: Run, options: Options) -> int:
    """Look for what torch.func would lose without an error; returns the steps for which there is
    time.
    """
    with on_its_own(problem):
        training = PlainTraining(problem, run, options)
        _refuse(structure(training.objective))
        x, y = next(training.blocks())
        with put_back(objective=training.objective), preserve_generators():
            _refuse(_observed(training, x[0].clone(), y[0].clone()))
        with put_back(objective=training.objective), preserve_generators():
            start = time.perf_counter()
            training.gradients(x[0], y[0])
            seconds = time.perf_counter() - start
    least, most = STEPS
    return int(np.clip(SECONDS / (6 * seconds), least, most))


def _observed(training: PlainTraining, x: Tensor, y: Tensor) -> str:
    try:
        return observed(training.objective, training.gradients, x, y)
    except Exception as error:  # whatever an observer disturbs
        return f"its operations cannot be observed ({type(error).__name__}: {error})"


def _plain(problem: Problem, run: Run, options: Options) -> Trained:
    """Train with the plain engine; refuses whatever a stack would not carry."""
    with on_its_own(problem):
        training = PlainTraining(problem, run, options)
        before, watcher = generator_states(), _Watcher(training)
        outcome, after = training.outcome(watcher.look), generator_states()
    drawn = after.differences(before)
    for generator, library in (("random", "Python"), ("NumPy", "NumPy")):
        if generator in drawn:
            raise NotProved(f"it draws from {library}'s random numbers")
    objective = training.objective
    tensors = {
        name: t.detach().clone()
        for name, t in (*objective.named_parameters(), *objective.named_buffers())
    }
    losses = torch.tensor(outcome.initial), torch.from_numpy(outcome.curve)
    return Trained(dict(zip(LOSSES, losses, strict=True)) | tensors, after, draws=bool(drawn))


class _Watcher:
    """Looks, after each step of a run, for a change that a stack would not carry."""

    def __init__(self, training: PlainTraining) -> None:
        self.objective = objective = training.objective
        carried = (
            *objective.parameters(),
            *objective.buffers(),
            *(part._buffers for part in objective.modules()),
        )
        roots = {**training.problem.functions, "loss": objective.loss, "module": objective.module}
        self.snapshot, self.frame = Snapshot(roots, carried), frame(objective)
        self.moved: frozenset[str] | None = None  # the parameters that receive a gradient
        _refuse(self.snapshot.unseen or self.snapshot.outside)

    def look(self) -> None:
        """Raise NotProved if there is one."""
        moved = frozenset(
            name for name, p in self.objective.named_parameters() if p.grad is not None
        )
        if moved != (self.moved or moved):
            raise NotProved("the parameters that receive a gradient are not the same in all steps")
        self.moved = moved
        if path := self.snapshot.changed():
            raise NotProved(f"{path} changes in training, and is neither a parameter nor a buffer")
        now = frame(self.objective)
        if changed := [
            name for name in {**now, **self.frame} if now.get(name) != self.frame.get(name)
        ]:
            raise NotProved(f"{changed[0]} is made, replaced, frozen or thawed in training")


def _stacked(
    problem: Problem, runs: Sequence[Run], options: Options
) -> tuple[list[Trained], float]:
    """Train the same as a stack: what its first two runs end with, and run-steps per second, of the
    second half.
    """
    try:
        with on_its_own(problem):
            training, losses = Training(problem, runs, options), []
            for point, (length, batch) in enumerate(
                zip(training.lengths, training.blocks(), strict=False)
            ):
                start = time.perf_counter()
                losses.append(torch.from_numpy(training.window(point, length, *batch)).float())
            rate = len(runs) * length / (time.perf_counter() - start)
            after = generator_states()
    except Exception as error:  # whatever torch.func raises
        raise NotProved(_sentence(error)) from error
    tensors = {
        **training.stack.params,
        **training.stack.buffers,
        "the losses": torch.stack(losses, dim=1),
    }
    tensors["the initial loss"] = torch.from_numpy(training.initial)
    return [
        Trained({name: each[i] for name, each in tensors.items()}, after) for i in range(2)
    ], rate


def _sentence(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, BadInput) and error.__cause__ else error
    text = " ".join(str(cause).split()).split(". ")[0]
    return f"torch.func cannot batch it ({type(cause).__name__}: {text[:160]})"


def _compare(
    problem: Problem,
    runs: Sequence[Run],
    options: Options,
    plain: Sequence[Trained],
    stacked: Sequence[Trained],
) -> None:
    """Refuse any difference beyond rounding; what rounding does is measured in float64 if that
    decides.
    """
    if any(
        one.generators.differences(other.generators)
        for one, other in zip(plain, stacked, strict=True)
    ):
        raise NotProved("a stack draws other random numbers")
    wrong = _differing(plain, stacked, torch.float32)
    if not wrong:
        return
    reason = f"a stack reaches other values of {wrong[0]} in {problem.steps} steps"
    if plain[0].draws:  # other numbers would be drawn in float64
        raise NotProved(reason)
    try:
        exact = doubled(problem)
        reference = [_plain(exact, run, options) for run in runs]
        if wrong[0] not in LOSSES and _rounding(plain, stacked, reference, FACTOR):
            return
        again, _ = _stacked(exact, runs, options)
    except Exception as error:
        raise Differs(reason) from error
    if _differing(reference, again, torch.float64) or not _rounding(
        plain, stacked, reference, 10 * FACTOR
    ):
        raise Differs(reason)


def _differing(ours: Sequence[Trained], theirs: Sequence[Trained], dtype: torch.dtype) -> list[str]:
    """The names of values that differ beyond rounding, the losses first."""
    return [
        name
        for one, other in zip(ours, theirs, strict=True)
        for name in _differs(one, other, NEAR[dtype])
    ]


def _differs(one: Trained, other: Trained, tolerance: float) -> list[str]:
    """The names of values that differ beyond a tolerance."""
    pairs = [
        (name, a, other.values[name]) for name, a in one.values.items() if name in other.values
    ]
    return [
        name
        for name, a, b in pairs
        if a.shape != b.shape
        or not torch.allclose(a.double(), b.double(), tolerance, tolerance, equal_nan=True)
    ]


def _rounding(
    plain: Sequence[Trained], stacked: Sequence[Trained], exact: Sequence[Trained], factor: float
) -> bool:
    """Whether a stack is as near to float64's values as the plain engine is, up to a factor."""
    return all(
        _distance(s.values[name], e.values[name])
        <= factor * _distance(p.values[name], e.values[name]) + NEAR[torch.float32]
        for p, s, e in zip(plain, stacked, exact, strict=True)
        for name in s.values.keys() & p.values.keys()
    )


def _distance(a: Tensor, b: Tensor) -> float:
    if a.shape != b.shape:
        return float("inf")
    far = (a.double() - b.double()).abs() / (1 + b.double().abs())
    return float(far.max()) if far.numel() else 0.0


def doubled(problem: Problem) -> Problem:
    """The same problem in float64."""
    loss = (
        copy.deepcopy(problem.loss).double()
        if isinstance(problem.loss, nn.Module)
        else problem.loss
    )
    wide = {name: _double(getattr(problem, name)) for name in ("inputs", "targets")}
    return problem.with_(module=lambda: problem.module().double(), loss=loss, **wide)


def _double(data: Tensor) -> Tensor:
    return data.double() if data.is_floating_point() else data


def _refuse(reason: str) -> None:
    if reason:
        raise NotProved(reason)
