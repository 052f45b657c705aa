"""The ways to train many runs of one problem that `benchmarks.replicas` compares; each returns a
function that trains one round and returns run-steps per second.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

ROUND_SECONDS = 1.0  # approximate time of a round


def grid(runs: int) -> list[tuple[float, float]]:
    """Betas of `runs` runs, evenly spaced over memory horizons 1 to 100 and 1 to 10^4, also with
    beta1 >= sqrt(beta2).
    """
    side = math.isqrt(runs - 1) + 1
    pairs = [
        (1 - 100.0 ** -(i / side), 1 - 1e4 ** -((j + side) / (2 * side)))
        for i in range(side)
        for j in range(side)
    ]
    return pairs[:runs]


def problem(name: str):
    """The digits (64-32-10), an MLP of 784-32-10 on random data, or the counterexample."""
    import torch

    from betaplane.problems import Problem, counterexample, digits

    if name == "counterexample":
        return counterexample(n=10)
    if name == "digits":
        return digits()
    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(1797, 784, generator=g), torch.randint(10, (1797,), generator=g)

    def net() -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Linear(784, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
        )

    return Problem("mlp784", net, torch.nn.functional.cross_entropy, x, y, 32)


def stacked(name: str, runs: int, compiled: bool, chunk: int | None = None) -> Callable[[], float]:
    """betaplane's stacked engine, with stacks of `chunk` runs (None: the size that it chooses)."""
    import torch

    from betaplane.replicas import Options, Run
    from betaplane.replicas.stacked import Training
    from betaplane.replicas.worker import chunk_size
    from betaplane.rules import Adam

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    task = problem(name)
    chunk = chunk or chunk_size(task, "stacked", compiled)
    steps = 200 if name == "counterexample" else 20
    task = task.with_(steps=100_000 * steps, record="minibatch")
    settings = [Run(Adam(b1, b2), task.lr, task.batch_size, 0) for b1, b2 in grid(runs)]
    options = Options(points=100_000, early_stop=False, compile=compiled)
    stacks = [Training(task, settings[i : i + chunk], options) for i in range(0, runs, chunk)]
    blocks = [stack.blocks() for stack in stacks]
    window = 0

    def train_window() -> int:
        nonlocal window
        for stack, block in zip(stacks, blocks, strict=True):
            stack.window(window, steps, *next(block))
        window += 1
        return steps * runs

    return round_of(train_window)


def round_of(train: Callable[[], int]) -> Callable[[], float]:
    """A function that calls `train` for one round, and returns its run-steps per second."""

    def round_() -> float:
        start, run_steps = time.perf_counter(), 0
        while time.perf_counter() - start < ROUND_SECONDS:
            run_steps += train()
        return run_steps / (time.perf_counter() - start)

    return round_


def loop(name: str, runs: int, fused: bool) -> Callable[[], float]:
    """torch.optim.Adam, one run after another; the speed does not depend on the number of runs."""
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    task = problem(name)
    b1, b2 = grid(runs)[runs // 2]
    module = task.fresh(0)
    adam = torch.optim.Adam(module.parameters(), task.lr, (b1, b2), fused=fused or None)
    index = torch.randint(task.examples, (64, task.batch_size))
    x, y = task.inputs[index], task.targets[index]

    def train_64_steps() -> int:
        for k in range(64):
            adam.zero_grad()
            task.loss(module(x[k]), y[k]).backward()
            adam.step()
        return 64

    return round_of(train_64_steps)


def jax(name: str, runs: int, how: str) -> Callable[[], float]:
    """JAX with optax: vmap over scan, or map over scan (one run after another, compiled)."""
    import jax as j
    import jax.numpy as jnp
    import optax

    task = problem(name)
    steps = 1000 if name == "counterexample" else 100
    rng = np.random.default_rng(0)
    index = jnp.asarray(rng.integers(task.examples, size=(steps, task.batch_size)))
    start, loss = _jax_problem(name, task)

    def run(b1, b2):
        adam = optax.adam(task.lr, b1, b2)

        def step(carry, i):
            p, s = carry
            value, g = j.value_and_grad(loss)(p, i)
            update, s = adam.update(g, s, p)
            return (optax.apply_updates(p, update), s), value

        return j.lax.scan(step, (start, adam.init(start)), index)

    mapped = j.vmap(run) if how == "vmap" else lambda a, b: j.lax.map(lambda q: run(*q), (a, b))
    all_runs = j.jit(mapped)
    b1, b2 = (jnp.asarray(column, jnp.float32) for column in zip(*grid(runs), strict=True))

    def train_all() -> int:
        j.block_until_ready(all_runs(b1, b2))
        return steps * runs

    return round_of(train_all)


def _jax_problem(name: str, task):
    import jax as j
    import jax.numpy as jnp
    import optax

    tensors, labels = jnp.asarray(task.inputs.numpy()), jnp.asarray(task.targets.numpy())
    if name == "counterexample":
        phi = lambda x: jnp.where(x >= -1, x, ((x + 2) ** 2 - 3) / 2)  # noqa: E731
        return jnp.ones(()), lambda x, i: (tensors[i] * phi(x)).mean()
    w1, b1, w2, b2 = (jnp.asarray(p.detach().numpy()) for p in task.fresh(0).parameters())

    def loss(p, i):
        hidden = j.nn.relu(tensors[i] @ p[0].T + p[1])
        return optax.softmax_cross_entropy_with_integer_labels(
            hidden @ p[2].T + p[3], labels[i]
        ).mean()

    return (w1, b1, w2, b2), loss
