"""The ways of training many runs of one problem that are compared; each trains a round and says how
long it took.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

ROUND_SECONDS = 1.0  # a round takes about so long


def grid(runs: int) -> list[tuple[float, float]]:
    """Betas of `runs` runs, evenly over memory horizons 1..100 and 1..10^4, beta1 < sqrt(beta2) or
    not.
    """
    side = math.isqrt(runs - 1) + 1
    pairs = [
        (1 - 100.0 ** -(i / side), 1 - 1e4 ** -((j + side) / (2 * side)))
        for i in range(side)
        for j in range(side)
    ]
    return pairs[:runs]


def problem(name: str):
    """digits 64-32-10, the same at 784 inputs on made-up data (batch 32), or the scalar
    counterexample.
    """
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
    """Ours: replicas stacked, in stacks of `chunk` (the engine's own size if None); run-steps a
    second.
    """
    import torch

    from betaplane.replicas import Options, Run
    from betaplane.replicas.stacked import Training
    from betaplane.replicas.worker import chunk_size
    from betaplane.rules import Adam

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    here = problem(name)
    chunk = chunk or chunk_size(here, "stacked", compiled)
    steps = 200 if name == "counterexample" else 20
    here = here.with_(steps=100_000 * steps)
    many = [Run(Adam(b1, b2), here.lr, here.batch_size, 0) for b1, b2 in grid(runs)]
    options = Options(points=100_000, early_stop=False, compile=compiled)
    stacks = [
        Training(here.with_(record="minibatch"), many[i : i + chunk], options)
        for i in range(0, runs, chunk)
    ]
    blocks = [stack.blocks() for stack in stacks]
    at = 0

    def round_() -> float:
        nonlocal at
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < ROUND_SECONDS:
            for stack, block in zip(stacks, blocks, strict=True):
                stack.window(at, steps, *next(block))
            at += 1
            done += steps * runs
        return done / (time.perf_counter() - began)

    return round_


def loop(name: str, runs: int, fused: bool) -> Callable[[], float]:
    """torch.optim.Adam, one run after another; a run's speed does not depend on how many there are."""
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    here = problem(name)
    b1, b2 = grid(runs)[runs // 2]
    module = here.fresh(0)
    adam = torch.optim.Adam(module.parameters(), here.lr, (b1, b2), fused=fused or None)
    index = torch.randint(here.examples, (64, here.batch_size))
    x, y = here.inputs[index], here.targets[index]

    def round_() -> float:
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < ROUND_SECONDS:
            for k in range(64):
                adam.zero_grad()
                here.loss(module(x[k]), y[k]).backward()
                adam.step()
            done += 64
        return done / (time.perf_counter() - began)

    return round_


def jax(name: str, runs: int, how: str) -> Callable[[], float]:
    """JAX with optax: vmap over scan, or map over scan (one run after another, compiled)."""
    import jax as j
    import jax.numpy as jnp
    import optax

    here = problem(name)
    steps = 1000 if name == "counterexample" else 100
    rng = np.random.default_rng(0)
    index = jnp.asarray(rng.integers(here.examples, size=(steps, here.batch_size)))
    start, loss = _jax_problem(name, here)

    def run(b1, b2):
        adam = optax.adam(here.lr, b1, b2)

        def step(carry, i):
            p, s = carry
            value, g = j.value_and_grad(loss)(p, i)
            update, s = adam.update(g, s, p)
            return (optax.apply_updates(p, update), s), value

        return j.lax.scan(step, (start, adam.init(start)), index)

    many = j.vmap(run) if how == "vmap" else lambda a, b: j.lax.map(lambda q: run(*q), (a, b))
    together = j.jit(many)
    b1, b2 = (jnp.asarray(column, jnp.float32) for column in zip(*grid(runs), strict=True))

    def round_() -> float:
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < ROUND_SECONDS:
            j.block_until_ready(together(b1, b2))
            done += steps * runs
        return done / (time.perf_counter() - began)

    return round_


def _jax_problem(name: str, here):
    import jax as j
    import jax.numpy as jnp
    import optax

    data, labels = jnp.asarray(here.inputs.numpy()), jnp.asarray(here.targets.numpy())
    if name == "counterexample":
        phi = lambda x: jnp.where(x >= -1, x, ((x + 2) ** 2 - 3) / 2)  # noqa: E731
        return jnp.ones(()), lambda x, i: (data[i] * phi(x)).mean()
    w1, b1, w2, b2 = (jnp.asarray(p.detach().numpy()) for p in here.fresh(0).parameters())

    def loss(p, i):
        hidden = j.nn.relu(data[i] @ p[0].T + p[1])
        return optax.softmax_cross_entropy_with_integer_labels(
            hidden @ p[2].T + p[3], labels[i]
        ).mean()

    return (w1, b1, w2, b2), loss
