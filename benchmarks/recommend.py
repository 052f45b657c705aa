"""Losses of the recommended setting on seeds that no map used, against the default and the best.

`python -m benchmarks.recommend [PROBLEM ...]`: built-in problems or file.py:name; by default those
of `benchmarks/recommend_problems`, about an hour. For each problem a map of 8 x 8 cells is trained
and recommends a setting. Then, with fresh seeds:

- the score of the recommendation, of the rule's default betas at the given learning rate, and of the
  default at its best learning rate: 0 is the best of a lattice of 12 betas x 7 learning rates, 1 the
  loss before training;
- the gain over the default at the given learning rate, and whether the stated interval, widened by
  the noise of this measurement, contains it.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from betaplane.maps import map_phases
from betaplane.maps.decision import Gain, gain
from betaplane.maps.engine import choose_engine
from betaplane.maps.mapper import store_of, temporary_store
from betaplane.maps.plan import plan_for
from betaplane.maps.scheduler import RunScheduler
from betaplane.maps.trials import Trials
from betaplane.problems.source import as_problem
from betaplane.replicas import Pool, chunk_size

FOLDER = Path(__file__).with_name("recommend_problems")
DEFAULT = (0.9, 0.999)
BETAS = (
    DEFAULT, (0.9, 0.99), (0.9, 0.95), (0.9, 0.9), (0.95, 0.99), (0.8, 0.95),
    (0.5, 0.9), (0.5, 0.99), (0.5, 0.999), (0.0, 0.9), (0.0, 0.99), (0.98, 0.999),
)  # fmt: skip
EXPONENTS = range(-3, 4)
LATTICE_SEEDS = range(2000, 2002)
SEEDS = range(2000, 2012)


def main(sources: list[str]) -> None:
    """Print a row per problem and the counts."""
    print(
        f"{'problem':<20}{'runs':>5}  {'recommended':<28}{'score':>7}{'default':>8}{'its lr':>8}  gain"
    )
    rows = [row(source) for source in sources or own_problems()]
    print(f"\nno worse than the default within noise: {sum(r[0] for r in rows)} of {len(rows)}")
    stated = [r[1] for r in rows if r[1] is not None]
    print(f"stated gains whose interval holds: {sum(stated)} of {len(stated)}")
    print(
        f"within 10% of the way from the best: {sum(r[2] for r in rows)} of {len(rows)}; ", end=""
    )
    print(f"the default {sum(r[3] for r in rows)}, at its best lr {sum(r[4] for r in rows)}")


def own_problems() -> list[str]:
    """References to the problems of the folder."""
    return [
        f"{path}:{'trainer' if 'trainer =' in path.read_text() else 'problem'}"
        for path in sorted(FOLDER.glob("*.py"))
    ]


def row(source: str) -> tuple[bool, bool | None, bool, bool, bool]:
    """Map, train on fresh seeds, print."""
    start, problem = time.perf_counter(), as_problem(source)
    with ExitStack() as stack:
        path = temporary_store(stack)
        phase_map = map_phases(source, points=8, store=path, workers=1, progress=False)
        found = phase_map.recommendation
        if found is None or found.decision is None:
            print(f"{problem.name:<20} no recommendation")
            return False, None, False, False, False
        plan = plan_for(problem)
        pool = Pool(problem, workers=1)
        store = stack.enter_context(store_of(problem, path))
        stack.enter_context(pool)
        choice = choose_engine(problem, plan, pool, plan.run((3, 3), 0), 500, store.meta)
        chunk = chunk_size(problem, choice.engine, False)
        trials = Trials(plan, RunScheduler(plan, pool, store, choice.engine, chunk, lambda _: None))
        betas = {name: found.settings[name] for name in ("beta1", "beta2")}
        recommended = {**betas, "lr": found.settings["lr"]}
        default = {"beta1": DEFAULT[0], "beta2": DEFAULT[1]}
        lattice = [
            {"beta1": beta1, "beta2": beta2, "lr": plan.lr * 3.0**k}
            for beta1, beta2 in BETAS
            for k in EXPONENTS
        ]
        rough = np.nan_to_num(trials.finals(lattice, LATTICE_SEEDS), posinf=np.inf).mean(axis=1)
        best = lattice[int(np.argmin(rough))]
        at_best_lr = lattice[int(np.argmin(rough[: len(EXPONENTS)]))]
        settings = [recommended, {**default, "lr": plan.lr}, at_best_lr, best]
        finals = trials.finals(settings, SEEDS)
        initial = trials.initials(SEEDS)
    measured = gain(finals[0], finals[1], initial)
    mean = np.minimum(np.where(np.isfinite(finals), finals, np.inf), initial).mean(axis=1)
    low = min(mean)
    scores = (mean - low) / max(float(initial.mean()) - low, 1e-300)
    stated = None if found.decision.gain.middle == 0 else holds(found.decision.gain, measured)
    text = f"lr {recommended['lr']:.3g} ({betas['beta1']:.4g}, {betas['beta2']:.5g})"
    seconds = time.perf_counter() - start
    numbers = f"{scores[0]:>7.3f}{scores[1]:>8.3f}{scores[2]:>8.3f}"
    print(
        f"{problem.name:<20}{phase_map.trainings:>5}  {text:<28}{numbers}  "
        f"{measured} {stated} ({seconds:.0f} s)",
        flush=True,
    )
    return measured.high >= 0, stated, *(bool(s <= 0.1) for s in scores[:3])  # type: ignore[return-value]


def holds(stated: Gain, measured: Gain) -> bool:
    """Whether the two intervals overlap."""
    return stated.low <= measured.high and measured.low <= stated.high


if __name__ == "__main__":
    main(sys.argv[1:])
