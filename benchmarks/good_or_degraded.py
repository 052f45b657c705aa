"""Whether a recording predicts good against degraded cells, on problems that no method was designed on.

`python -m benchmarks.good_or_degraded [problem ...]`. For each problem of
`benchmarks/recommend_problems`, a map of 5 x 8 cells with 2 seeds is trained at the problem's
learning rate, for at most 300 steps. Printed for each predictor, over the cells that do not fail:
its rank correlation with the trained score, and the balanced accuracy of "degraded".
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.agreement import balanced_accuracy
from betaplane.maps import DEGRADED, FAILING, PhaseMap, map_phases
from betaplane.problems import Problem, load, minibatches
from betaplane.replay import record_problem, replay_gradients

FOLDER = Path(__file__).parent / "recommend_problems"
PROBLEMS = (
    "diabetes", "poisson_glm", "mixture_density", "illcond_linreg", "cancer_multitask",
    "tied_autoencoder", "quantile_reg", "heavytail_logreg",
)  # fmt: skip
STEPS, ROWS, COORDINATES, PROBES = 300, 256, 1500, 24


def main(names: Sequence[str]) -> None:
    """Print a table for each problem."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    for name in names or PROBLEMS:
        problem = load(f"{FOLDER / name}.py:problem")
        assert isinstance(problem, Problem)
        compare(name, problem.with_(steps=min(problem.steps, STEPS)))


def compare(name: str, problem: Problem) -> None:
    axes = ("beta1", 0.0, 0.99), ("beta2", 0.5, 0.9999)
    how = {"points": (5, 8), "dense": True, "seeds": 2, "boundary_seeds": 2, "search_lr": False}
    trained = map_phases(problem, *axes, workers=0, progress=False, **how)
    beta2 = np.broadcast_to(trained.y.values, trained.verdicts.shape)
    show(name, "beta2", trained, beta2, None)
    for after in (0, 100):
        whole = replay_gradients(
            record_problem(problem, COORDINATES, ROWS, after=after),
            trained.x.values,
            trained.y.values,
        ).whole
        cost = np.nan_to_num(whole.cost, nan=1e9, posinf=1e9)
        show(name, f"cost, step {after}", trained, cost, 2.0)
        floor = whole.rms**2 / np.maximum(whole.cosine, 1e-3)
        show(name, f"noise floor, step {after}", trained, floor, None)
        model = simulated(problem, trained, *local_model(problem, after))
        show(name, f"quadratic model, step {after}", trained, model, 0.05)


def show(
    name: str, what: str, trained: PhaseMap, predicted: np.ndarray, limit: float | None
) -> None:
    """Print one predictor; with a limit, the balanced accuracy of what lies above it."""
    known = trained.verdicts != FAILING
    scores = np.array([trained.cells[int(i), int(j)].score for i, j in np.argwhere(known)])
    line = f"{name:<18}{what:<28}{correlation(predicted[known], scores):>7.2f}"
    if limit is not None:
        degraded = trained.verdicts[known] == DEGRADED
        line += f"{balanced_accuracy(predicted[known] > limit, degraded):>7.2f}"
    print(line, flush=True)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation."""
    ranks = [np.argsort(np.argsort(values)).astype(float) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def local_model(problem: Problem, after: int) -> tuple[Tensor, Tensor]:
    """Minibatch gradients (ROWS, k) after some steps of Adam, and the diagonal of the Hessian (k,),
    both at random coordinates.
    """
    module = problem.fresh(0)
    params = [p for p in module.parameters() if p.requires_grad]
    adam = torch.optim.Adam(params, lr=problem.lr)

    def loss(index: Tensor | slice) -> Tensor:
        return problem.loss(module(problem.inputs[index]), problem.targets[index])

    size, n = problem.batch_size, problem.examples
    for index in next(minibatches(n, size, problem.order, 0, after)) if after else ():
        adam.zero_grad()
        loss(index).backward()
        adam.step()
    module.eval()
    order = next(minibatches(n, size, problem.order, 7, ROWS))
    rows = torch.stack([flat(torch.autograd.grad(loss(index), params)) for index in order])
    diagonal = hessian_diagonal(lambda: loss(slice(1024)), params)
    chosen = torch.randperm(rows.shape[1], generator=torch.Generator().manual_seed(0))[:COORDINATES]
    return rows[:, chosen].double(), diagonal[chosen]


def hessian_diagonal(loss: Callable[[], Tensor], params: Sequence[Tensor]) -> Tensor:
    """Hutchinson's estimate from Hessian-vector products."""
    grads = torch.autograd.grad(loss(), params, create_graph=True)
    total = torch.zeros(sum(p.numel() for p in params), dtype=torch.float64)
    for _ in range(PROBES):
        signs = [torch.randint(0, 2, p.shape).to(p.dtype) * 2 - 1 for p in params]
        dot = torch.stack([(g * s).sum() for g, s in zip(grads, signs, strict=True)]).sum()
        products = torch.autograd.grad(dot, params, retain_graph=True, materialize_grads=True)
        total += flat([h * s for h, s in zip(products, signs, strict=True)]).double() / PROBES
    return total


def flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([t.reshape(-1) for t in tensors])


def simulated(problem: Problem, trained: PhaseMap, rows: Tensor, diagonal: Tensor) -> np.ndarray:
    """Scores of Adam on the noisy quadratic model, for every cell: gradients h x plus the noise of
    a recorded row, from the x at which h x is the recorded mean gradient.
    """
    mean = rows.mean(0)
    h = diagonal.abs()
    h = h.clamp_min(float(h[h > 0].quantile(0.1)))
    cells = [(b1, b2) for b1 in trained.x.values for b2 in trained.y.values]
    beta1, beta2 = torch.tensor(cells, dtype=torch.float64).T[:, :, None]
    x = (mean / h).expand(len(cells), -1).clone()
    m, v, generator = torch.zeros_like(x), torch.zeros_like(x), torch.Generator().manual_seed(0)
    initial, losses = float((h * x[0] ** 2).sum() / 2), []
    for t in range(1, problem.steps + 1):
        g = h * x + rows[torch.randint(len(rows), (1,), generator=generator)] - mean
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        x = x - problem.lr * (m / (1 - beta1**t)) / ((v / (1 - beta2**t)).sqrt() + 1e-8)
        losses.append((h * x**2).sum(1) / 2)
    final = torch.stack(losses[-max(1, len(losses) // 10) :]).mean(0).numpy()
    scores = (final - final.min()) / max(1e-300, initial - final.min())
    return scores.reshape(trained.verdicts.shape)


if __name__ == "__main__":
    main(sys.argv[1:])
