"""Measure in a worker what runs cost: seconds of a chunk, floating-point operations, memory."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from betaplane.problems import Problem
from betaplane.replicas.objective import isolated, problem_of
from betaplane.replicas.plain import PlainTraining
from betaplane.replicas.run import Options, Run
from betaplane.replicas.worker import train

FIRST_STEPS = 4  # of the shortest measurement
GROWTH = 4  # factor between the steps of two measurements
CHUNK_SECONDS = 4.0  # a longer measurement is not started
MAX_FIRST_SECONDS = 30.0  # after a longer one, there is no second


@dataclass(frozen=True)
class ChunkTime:
    """The time of runs that are trained together."""

    seconds: float  # with all steps, on a worker that has trained before
    first: float  # more seconds for the first chunk of a worker
    whole: bool  # measured with all steps; else extrapolated


@dataclass(frozen=True)
class Usage:
    """What one step and one worker need."""

    step_flops: int | None  # of a run's step, forward and backward; None if unknown
    peak_bytes: int | None  # of the worker process; None if the system does not report it
    device_bytes: int  # of a GPU; 0 on the CPU


def chunk_time(
    problem: Problem, runs: Sequence[Run], engine: str, options: Options, steps: int
) -> ChunkTime:
    """Train a chunk with more and more steps, up to all of them if that is quick.

    Otherwise the time of all steps is extrapolated from the last two measurements.

    Args:
        problem: the problem to train.
        runs: the chunk.
        engine: the engine that trains it.
        options: options of all runs.
        steps: steps per run.
    """
    steps = runs[0].steps or steps
    taken = min(steps, FIRST_STEPS)
    first = _seconds(problem, runs, engine, options, taken)
    measured = [(taken, _seconds(problem, runs, engine, options, taken))]
    while taken < steps and _next_seconds(measured) < CHUNK_SECONDS:
        taken = min(steps, GROWTH * taken)
        measured.append((taken, _seconds(problem, runs, engine, options, taken)))
    more = max(0.0, first - measured[0][1])
    return ChunkTime(_extrapolated(measured, steps), more, taken == steps)


def _next_seconds(measured: Sequence[tuple[int, float]]) -> float:
    """The time of the next measurement; a chunk of few steps takes hardly less than one of more."""
    if len(measured) == 1:
        return 0.0 if measured[0][1] < MAX_FIRST_SECONDS else math.inf
    return _extrapolated(measured, GROWTH * measured[-1][0])


def _seconds(
    problem: Problem, runs: Sequence[Run], engine: str, options: Options, steps: int
) -> float:
    began = time.perf_counter()
    train(problem, [replace(run, steps=steps) for run in runs], engine, options)
    return time.perf_counter() - began


def _extrapolated(measured: Sequence[tuple[int, float]], steps: int) -> float:
    """The time of all steps: a line through the last two measurements, never below the last one.

    Example:
        >>> _extrapolated([(10, 2.0), (40, 5.0)], 100), _extrapolated([(4, 1.0)], 8)
        (11.0, 2.0)
    """
    taken, seconds = measured[-1]
    if taken == steps:
        return seconds
    if len(measured) == 1:
        return seconds * steps / taken
    before, earlier = measured[-2]
    slope = max(0.0, (seconds - earlier) / (taken - before))
    return seconds + slope * (steps - taken)


def usage(problem: Problem, run: Run, options: Options) -> Usage:
    """The operations of one step, and the peak memory of this process so far."""
    on_gpu = torch.device(options.device).type == "cuda"
    device_bytes = torch.cuda.max_memory_allocated() if on_gpu else 0
    return Usage(step_flops(problem, run, options), peak_bytes(), device_bytes)


def step_flops(problem: Problem, run: Run, options: Options = Options()) -> int | None:
    """Floating-point operations of one step, forward and backward: those of matrix products,
    convolutions and attention, which `torch.utils.flop_counter` counts.

    None if the step has none of these: its element-wise operations are not counted.

    Example:
        >>> from betaplane.problems import load
        >>> from betaplane.rules import Adam
        >>> step_flops(load("digits"), Run(Adam(), 0.01, 32, 0))
        323584
    """
    problem = problem_of(problem, replace(run, steps=2))
    with isolated(problem):
        training = PlainTraining(problem, run, options)
        batch = next(training.batches())
        with FlopCounterMode(display=False) as counter:
            training.gradients(batch)
        training.optimizer.zero_grad()
    return counter.get_total_flops() or None


def peak_bytes() -> int | None:
    """The largest resident memory of this process so far; None if the system does not report it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    peaks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peaks[0]) * 1024 if peaks else None
