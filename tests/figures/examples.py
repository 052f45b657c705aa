"""Synthetic maps that look like real ones: a bulge of failure, a batch-size map, and the ends of
the range.
"""

from __future__ import annotations

import math

import numpy as np

from betaplane.maps.grid import Axis, axis
from betaplane.maps.phase_map import (
    DEGRADED,
    FAILING,
    GOOD,
    Cell,
    Curve,
    Mark,
    PhaseMap,
    Recommendation,
    Thresholds,
)

INITIAL, BEST = 1.0, 0.02
POINTS = 100


def bulge(points: int = 24, quadtree: bool = False) -> PhaseMap:
    """A counterexample: failing under a bulge, good above it, with the exact boundary drawn."""
    x, y = axis("beta1", 0, 0.999, points), axis("beta2", 0, 0.9999, points)
    score = _scores(x, y, _bulge_height)
    chosen = _quadtree(_verdicts(score)) if quadtree else None
    beta1 = 1 - np.logspace(0, -3, 120)
    exact = 1 - 10 ** -np.array([_bulge_height(-math.log10(1 - b)) for b in beta1])
    curves = (
        Curve("exact boundary", beta1, exact),
        Curve("β₁ = √β₂", beta1, beta1**2),
        Curve("β₁ = β₂", beta1, beta1),
    )
    return _map(
        "divergence counterexample, n = 20",
        x,
        y,
        score,
        chosen,
        curves,
        {"lr": 0.01, "eps": 1e-8, "batch_size": 1},
    )


def batches() -> PhaseMap:
    """batch_size x beta2: small batches need a long memory."""
    x, y = axis("batch_size", 1, 1024, 11), axis("beta2", 0, 0.9999, 24)
    score = _scores(x, y, lambda spot: 2.2 - 0.75 * spot)
    return _map("digits", x, y, score, None, (), {"beta1": 0.9, "lr": 0.003, "eps": 1e-8}, names=())


def rates() -> PhaseMap:
    """lr x weight_decay: no betas at all."""
    x, y = axis("lr", 1e-4, 1, 20), axis("weight_decay", 1e-4, 1, 16)
    score = _scores(x, y, lambda spot: 2.5 * spot, flip=True)
    return _map(
        "digits",
        x,
        y,
        score,
        None,
        (),
        {"beta1": 0.9, "beta2": 0.999, "batch_size": 64},
        names=(),
        rule="AdamW",
    )


def all_good() -> PhaseMap:
    """No boundary anywhere: distances are infinite."""
    x, y = axis("beta1", 0, 0.99, 12), axis("beta2", 0, 0.999, 12)
    score = 1e-3 * (1 + np.add.outer(x.positions, y.positions))
    return _map(
        "quadratic <script>alert('x')</script> & co.",
        x,
        y,
        score,
        None,
        (),
        {"lr": 0.01, "batch_size": 8},
    )


def all_failing() -> PhaseMap:
    """Nothing to recommend."""
    x, y = axis("beta1", 0, 0.99, 12), axis("beta2", 0, 0.999, 12)
    score = np.where(np.add.outer(x.positions, y.positions) > 2, np.inf, 0.8)
    return _map("digits at lr = 10", x, y, score, None, (), {"lr": 10.0, "batch_size": 8})


ALL = {
    "bulge": bulge,
    "quadtree": lambda: bulge(64, quadtree=True),
    "dense64": lambda: bulge(64),
    "batches": batches,
    "rates": rates,
    "all_good": all_good,
    "all_failing": all_failing,
}


def _bulge_height(spot: float) -> float:
    """The lowest beta2 position that converges, over the position of beta1."""
    return max(0.0, 1.9 * math.exp(-(((spot - 0.55) / 0.75) ** 2)) + 0.62 * spot - 0.35)


def _scores(x: Axis, y: Axis, height, flip: bool = False) -> np.ndarray:
    above = np.array([[v - height(u) for v in y.positions] for u in x.positions])
    above = -above if flip else above
    wobble = np.random.default_rng(0).normal(0, 0.15, above.shape)
    score = 10 ** (-0.6 - 2.2 * above + wobble) + 10 ** (1.6 * (y.positions - 3.9)) * 0.3
    return np.where(above < -0.9, np.inf, np.clip(score, 2e-4, 40))


def _verdicts(score: np.ndarray) -> np.ndarray:
    limits = Thresholds()
    return np.where(
        score < limits.good, GOOD, np.where(score > limits.failing, FAILING, DEGRADED)
    ).astype(np.int8)


def _quadtree(verdicts: np.ndarray) -> set[tuple[int, int]]:
    """The corners of blocks halved wherever their corners differ, as a coarse-to-fine map would
    train them.
    """
    chosen: set[tuple[int, int]] = set()

    def visit(i: int, j: int, size: int) -> None:
        i1, j1 = min(i + size, verdicts.shape[0] - 1), min(j + size, verdicts.shape[1] - 1)
        chosen.update([(i, j), (i1, j), (i, j1), (i1, j1)])
        block = verdicts[max(i - 1, 0) : i1 + 2, max(j - 1, 0) : j1 + 2]
        if size > 1 and (size > 8 or len(np.unique(block)) > 1):
            half = size // 2
            for a, b in ((0, 0), (half, 0), (0, half), (half, half)):
                visit(i + a, j + b, half)

    visit(0, 0, len(verdicts))
    return chosen


def _curve(score: float, seed: int) -> np.ndarray:
    """A loss curve that ends where its score says; one that diverges is cut short and ends in inf."""
    spots = np.linspace(0, 1, POINTS)
    noise = np.exp(np.random.default_rng(seed).normal(0, 0.06, POINTS))
    if math.isinf(score):
        curve = INITIAL * np.exp(9 * spots**2)[: POINTS // 2]
        return np.append(curve * noise[: len(curve)], np.inf)
    final = BEST + score * (INITIAL - BEST)
    return (final + (INITIAL - final) * np.exp(-7 * spots)) * noise


def _cell(settings: dict[str, float], score: float, verdict: int, seed: int) -> Cell:
    final = math.inf if math.isinf(score) else BEST + score * (INITIAL - BEST)
    failed = 1.0 if verdict == FAILING else 0.0
    p_low, p_high = (0.31, 1.0) if failed else (0.0, 0.56)
    return Cell(settings, (final,) * 3, score, verdict, failed, p_low, p_high, _curve(score, seed))


def _marks(x: Axis, y: Axis, verdicts: np.ndarray) -> tuple[Mark, ...]:
    texts = (
        (0.9, 0.999, "(0.9, 0.999) torch's default"),
        (0.9, 0.95, "(0.9, 0.95) language models"),
        (0.5, 0.9, "yours"),
    )
    return tuple(_mark(text, a, b, x, y, verdicts) for a, b, text in texts)


def _mark(text: str, a: float, b: float, x: Axis, y: Axis, verdicts: np.ndarray) -> Mark:
    spots = -np.log10(1 - np.array([a, b]))
    i, j = (
        int(np.abs(each.positions - spot).argmin())
        for each, spot in zip((x, y), spots, strict=True)
    )
    if spots[0] > x.positions[-1] + 1e-9 or spots[1] > y.positions[-1] + 1e-9:
        return Mark(text, a, b, None, math.inf)
    return Mark(
        text, a, b, int(verdicts[i, j]), _distance((i, j), x, y, verdicts != verdicts[i, j])
    )


def _distance(spot: tuple[int, int], x: Axis, y: Axis, other: np.ndarray) -> float:
    if not other.any():
        return math.inf
    away = np.hypot.outer(x.positions - x.positions[spot[0]], y.positions - y.positions[spot[1]])
    return float(away[other].min())


def _recommend(
    x: Axis, y: Axis, verdicts: np.ndarray, spots: list[tuple[int, int]]
) -> Recommendation | None:
    good = [spot for spot in spots if verdicts[spot] == GOOD]
    if not good:
        return None
    away = {spot: _distance(spot, x, y, verdicts != GOOD) for spot in good}
    best = max(good, key=lambda spot: (min(away[spot], 9.0), -abs(spot[0] - len(x) // 2)))
    low = high = best[1]
    while low > 0 and verdicts[best[0], low - 1] == GOOD:
        low -= 1
    while high < len(y) - 1 and verdicts[best[0], high + 1] == GOOD:
        high += 1
    settings = {x.name: x.values[best[0]], y.name: y.values[best[1]]}
    reason = f"It is the good cell farthest from any that is not: {away[best]:.2f} decades of memory horizon."
    return Recommendation(settings, best, away[best], (y.values[low], y.values[high]), reason)


def _map(problem, x, y, score, chosen, curves, fixed, names=("marks",), rule="Adam") -> PhaseMap:
    verdicts = _verdicts(score)
    spots = sorted(chosen) if chosen else list(np.ndindex(verdicts.shape))
    cells = {
        (int(i), int(j)): _cell(
            {**fixed, x.name: x.values[i], y.name: y.values[j]},
            float(score[i, j]),
            int(verdicts[i, j]),
            64 * i + j,
        )
        for i, j in spots
    }
    return PhaseMap(
        problem, rule, x, y, fixed, cells, verdicts, np.where(verdicts == FAILING, 1.0, 0.0), INITIAL, BEST,
        steps=2000, trainings=3 * len(cells), marks=_marks(x, y, verdicts) if names else (), curves=curves,
        recommendation=_recommend(x, y, verdicts, spots),
        facts={"engine": "vmap, 256 replicas at once", "torch": "2.13.0", "seeds": "0, 1, 2", "time": "41 s"},
    )  # fmt: skip
