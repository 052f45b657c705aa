"""Compare ways to find where training fails along beta2: python -m benchmarks.confirmation [NAME ...]

At beta1 = 0.9, each problem is trained at 81 values of beta2 with two seeds; the boundary that all
these runs show is the truth. Each method then sees the outcomes of 8 runs of the first seed at most,
and its median is compared with the truth, in decades of 1 / (1 - beta2):

    rule             beta2 = beta1^2, no run
    replay           the replay of 512 gradients at step 100, no run
    evenly           8 runs at even distances, no prediction
    rule + chosen    8 runs that `betaplane plan` chooses, from the rule as its prediction
    replay + chosen  8 runs that `betaplane plan` chooses, from the replay

"inside" counts how often the 90% interval contains the truth. A problem of which no run
fails, or nearly all, has no boundary and is left out.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np

from betaplane.maps.boundary_belief import (
    CANDIDATES,
    Belief,
    belief,
    choose,
    contradictions,
)
from betaplane.maps.confirmation import HIGHEST, MAX_CONTRADICTIONS, predicted_position
from betaplane.maps.phase_map import FAILING, Thresholds
from betaplane.maps.verdicts import score, verdict
from betaplane.problems import Problem, load
from betaplane.replay import record_problem
from betaplane.replicas import Run
from betaplane.replicas.worker import train_stacked
from betaplane.rules import Adam

BETA1, RUNS, STEPS, SEEDS = 0.9, 8, 300, 2
MAX_FAILING = 0.97  # the best run never fails, since it is the scale: a few do not make a boundary
MAX_SHARE = 0.1  # of runs that contradict a boundary, for there to be one
FOLDER = Path(__file__).with_name("recommend_problems")
BUILT_IN = ("digits:batch_size=4", "digits", "sparse", "valley:noise=1,steps=500", "counterexample")
UNSEEN = ("diabetes", "illcond_linreg", "matrix_fact", "poisson_glm", "quantile_reg",
          "heavytail_logreg", "embed_lm")  # fmt: skip
POSITIONS = np.linspace(0, HIGHEST, CANDIDATES)


def problem_named(name: str) -> Problem:
    path = FOLDER / f"{name}.py"
    problem = load(f"{path}:problem" if path.exists() else name)
    assert isinstance(problem, Problem)
    return problem.with_(steps=min(problem.steps, 2000 if name == "counterexample" else STEPS))


def failed_runs(problem: Problem) -> np.ndarray:
    """Whether each run fails, bool (SEEDS, CANDIDATES)."""
    finals, initial = [], []
    for seed in range(SEEDS):
        rules = [Adam(beta1=BETA1, beta2=1 - 10.0**-q) for q in POSITIONS]
        runs = [Run(rule, problem.lr, problem.batch_size, seed) for rule in rules]
        outcomes = train_stacked(problem, runs)
        finals.append([outcome.final for outcome in outcomes])
        initial.append(outcomes[0].initial)
    return np.array([
        [verdict(score(f, i, np.nanmin(row)), Thresholds()) == FAILING for f in row]
        for row, i in zip(np.array(finals), initial, strict=True)
    ])  # fmt: skip


def seen(failed: np.ndarray, places: np.ndarray) -> list[tuple[float, bool]]:
    """The outcomes of one seed at the positions nearest to some places."""
    nearest = np.abs(POSITIONS[:, None] - places).argmin(axis=0)
    return [(float(POSITIONS[k]), bool(failed[k])) for k in nearest]


def estimates(problem: Problem, failed: np.ndarray) -> dict[str, Belief]:
    """The belief of each method."""
    stream = record_problem(problem, 2000, 512, after=100)
    replay = predicted_position(stream, BETA1)
    rule = -math.log10(1 - BETA1**2)
    beliefs = {"rule": belief(0, HIGHEST, [rule]), "replay": belief(0, HIGHEST, [replay])}
    even = (np.arange(RUNS) + 0.5) / RUNS * HIGHEST
    beliefs["evenly"] = belief(0, HIGHEST, []).after(seen(failed, even))
    for name in ("rule", "replay"):
        places = np.array(choose(beliefs[name], RUNS).places)
        beliefs[f"{name} + chosen"] = beliefs[name].after(seen(failed, places))
    return beliefs


def known_by(failed: np.ndarray, problem: Problem) -> str:
    """Which runs show that there is no single boundary."""
    replay = predicted_position(record_problem(problem, 2000, 512, after=100), BETA1)
    chosen = np.array(choose(belief(0, HIGHEST, [replay]), RUNS).places)
    even = (np.arange(RUNS) + 0.5) / RUNS * HIGHEST
    show = {
        name: contradictions(seen(failed, places)) >= MAX_CONTRADICTIONS
        for name, places in {"replay + chosen": chosen, "evenly": even}.items()
    }
    return ", ".join(name for name, shown in show.items() if shown) or "none"


def main(names: list[str]) -> None:
    errors: dict[str, list[float]] = {}
    inside: dict[str, list[bool]] = {}
    for name in names or [*BUILT_IN, *UNSEEN]:
        problem = problem_named(name)
        failed = failed_runs(problem)
        if not 0 < failed.mean() < MAX_FAILING:
            print(f"{name:24} no boundary: {failed.mean():.0%} of the runs fail", flush=True)
            continue
        pairs = [(float(q), bool(f)) for row in failed for q, f in zip(POSITIONS, row, strict=True)]
        if (wrong := contradictions(pairs)) > MAX_SHARE * len(pairs):
            print(f"{name:24} no single boundary ({wrong} of {len(pairs)} runs contradict it); "
                  f"known to {known_by(failed[0], problem)}", flush=True)  # fmt: skip
            continue
        truth = belief(0, HIGHEST, []).after(pairs).quantile(0.5)
        found = estimates(problem, failed[0])
        texts = []
        for method, each in found.items():
            error = abs(each.quantile(0.5) - truth)
            low, high = each.interval()
            errors.setdefault(method, []).append(error)
            inside.setdefault(method, []).append(low - 0.025 <= truth <= high + 0.025)
            texts.append(f"{method} {error:.2f}")
        print(f"{name:24} boundary at beta2 = {1 - 10**-truth:.4g}; error: {', '.join(texts)}",
              flush=True)  # fmt: skip
    count = max(map(len, errors.values()), default=0)
    print(f"{'method':18} {'mean error':>10} {'largest':>8} {'inside':>8}   of {count}")
    for method, values in errors.items():
        print(f"{method:18} {np.mean(values):10.3f} {max(values):8.2f} {sum(inside[method]):8}")


if __name__ == "__main__":
    main(sys.argv[1:])
