"""`tune` against random search and Optuna's TPE, at equal numbers of runs.

`python -m benchmarks.tune [--tables DIR] PROBLEM ...`; a problem is a reference such as "digits" or
"my_file.py:problem". The losses of all settings of a lattice over learning rate, beta1 and beta2
are recorded once for each problem (8 seeds, about 1 minute if a run takes 20 ms) and kept in DIR;
all three methods then choose from that table, so that repetitions need no training. Random search
and TPE draw from the lattice, which is uniform in log(lr) and in log horizons.

Scores: 0 is the mean loss of the lattice's best setting, 1 the loss before training. Printed are the
median, the worst score and the mean rank over the repetitions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from betaplane.maps.engine import choose_engine
from betaplane.maps.mapper import store_of
from betaplane.maps.plan import plan_for
from betaplane.maps.scheduler import RunScheduler
from betaplane.maps.trials import Trials
from betaplane.maps.tune_search import Lattice, Search
from betaplane.problems.source import as_problem
from betaplane.replicas import Pool, chunk_size

BETA1S = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98)
BETA2S = (0.9, 0.967, 0.99, 0.9967, 0.999, 0.9997)
REACH = 6  # learning rates in factors of sqrt(3), on either side
SEEDS = 8
RUNS = 48
REPETITIONS = 20


class Table:
    """The recorded losses of a problem; one repetition sees the seeds in its own order.

    Args:
        path: file with the losses, see `record`.
        repetition: chooses the order of the seeds.
    """

    def __init__(self, path: Path, repetition: int) -> None:
        data = np.load(path)
        lrs = tuple(float(f"{data['lr'] * 3.0 ** (k / 2):.6g}") for k in data["ks"])
        beta1s, beta2s = tuple(map(float, data["b1"])), tuple(map(float, data["b2"]))
        self.lattice = Lattice(lrs, beta1s, beta2s, len(lrs) // 2)
        self.losses, self.initial = data["finals"], data["initial"]
        self.seeds = np.random.default_rng(repetition).permutation(len(self.initial))
        self.runs = 0

    def finals(self, settings: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> np.ndarray:
        """As `Trials.finals`; fresh seeds are the last ones of the order."""
        self.runs += len(settings) * len(seeds)
        rows = [self.losses[self.index(setting)] for setting in settings]
        return np.array(rows)[:, self._columns(seeds)]

    def initials(self, seeds: Sequence[int]) -> np.ndarray:
        """As `Trials.initials`."""
        return self.initial[self._columns(seeds)]

    def index(self, setting: Mapping[str, float]) -> tuple[int, int, int]:
        """The indices of a setting."""
        lattice = self.lattice
        return (
            lattice.lrs.index(setting["lr"]),
            lattice.beta1s.index(setting["beta1"]),
            lattice.beta2s.index(setting["beta2"]),
        )

    def score(self, index: tuple[int, int, int]) -> float:
        """The share of the decrease that a setting misses, by its mean loss over all seeds."""
        finite = np.where(np.isfinite(self.losses), self.losses, np.inf)
        means = np.minimum(finite, self.initial).mean(-1)
        return float((means[index] - means.min()) / (self.initial.mean() - means.min()))

    def _columns(self, seeds: Sequence[int]) -> np.ndarray:
        order = [seed if seed < 1000 else len(self.seeds) - 1 - (seed - 1000) for seed in seeds]
        return self.seeds[order]


def by_tune(table: Table, repetition: int, runs: int) -> tuple[int, int, int]:
    """The setting that `tune` recommends."""
    return Search(table, table.lattice, runs).run().cell


def by_random_search(table: Table, repetition: int, runs: int) -> tuple[int, int, int]:
    """The best of settings drawn uniformly from the lattice, one run each."""
    rng = np.random.default_rng(1000 + repetition)
    shape = table.losses.shape[:3]
    drawn = [tuple(int(rng.integers(n)) for n in shape) for _ in range(runs)]
    return min(drawn, key=lambda index: _loss(table, index))


def by_tpe(table: Table, repetition: int, runs: int) -> tuple[int, int, int]:
    """The best setting of Optuna's TPE with its defaults, one run each."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=repetition))
    sizes = dict(zip(("lr", "beta1", "beta2"), table.losses.shape, strict=False))

    def loss(trial: optuna.Trial) -> float:
        return _loss(table, tuple(trial.suggest_int(n, 0, sizes[n] - 1) for n in sizes))

    study.optimize(loss, n_trials=runs)
    return tuple(study.best_params[name] for name in sizes)


def _loss(table: Table, index: tuple[int, int, int]) -> float:
    final = table.losses[index][table.seeds[0]]
    return float(min(final if np.isfinite(final) else np.inf, table.initial[table.seeds[0]]))


METHODS: dict[str, Callable[[Table, int, int], tuple[int, int, int]]] = {
    "tune": by_tune,
    "random": by_random_search,
    "TPE": by_tpe,
}


def record(source: str, path: Path) -> None:
    """Train all settings of the lattice with all seeds; write the losses."""
    problem = as_problem(source)
    plan = plan_for(problem)
    with ExitStack() as stack:
        pool = Pool(problem, leftovers=[])
        store = stack.enter_context(store_of(problem, path.with_suffix(".sqlite")))
        stack.enter_context(pool)
        runs = (2 * REACH + 1) * len(BETA1S) * len(BETA2S) * SEEDS
        engine = choose_engine(problem, plan, pool, plan.run((0, 0), 0), runs, store.meta).engine
        chunk = chunk_size(problem, engine, False)
        trials = Trials(plan, RunScheduler(plan, pool, store, engine, chunk, lambda _: None))
        ks = range(-REACH, REACH + 1)
        lrs = [float(f"{plan.lr * 3.0 ** (k / 2):.6g}") for k in ks]
        betas = [{"beta1": b1, "beta2": b2} for b1 in BETA1S for b2 in BETA2S]
        settings = [{"lr": lr, **pair} for lr in lrs for pair in betas]
        finals = trials.finals(settings, range(SEEDS))
        shape = (len(lrs), len(BETA1S), len(BETA2S), SEEDS)
        initial = trials.initials(range(SEEDS))
    arrays = {"finals": finals.reshape(shape), "initial": initial, "lr": plan.lr}
    np.savez(path, ks=list(ks), b1=BETA1S, b2=BETA2S, **arrays)  # type: ignore[arg-type]


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.tune")
    parser.add_argument("problems", nargs="*", default=["digits"])
    parser.add_argument("--tables", type=Path, default=Path("out/tune_tables"))
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    options = parser.parse_args(words)
    options.tables.mkdir(parents=True, exist_ok=True)
    print(f"{'problem':<20} {'method':<8} {'runs':>5} {'median':>8} {'worst':>8} {'rank':>5}")
    for source in options.problems:
        path = options.tables / f"{Path(source.split(':')[0]).stem}.npz"
        if not path.exists():
            record(source, path)
        _print_row(path, options.runs, options.repetitions)


def _print_row(path: Path, runs: int, repetitions: int) -> None:
    scores, spent = [], []
    for repetition in range(repetitions):
        table = Table(path, repetition)
        scores.append([table.score(find(table, repetition, runs)) for find in METHODS.values()])
        spent.append(table.runs)
    values = np.array(scores)
    ranks = (values[:, :, None] > values[:, None, :]).sum(-1) + 1
    ranks = ranks + ((values[:, :, None] == values[:, None, :]).sum(-1) - 1) / 2
    used = {"tune": float(np.median(spent))}
    for i, name in enumerate(METHODS):
        row = f"{name:<8} {used.get(name, runs):>5.0f} {np.median(values[:, i]):>8.4f}"
        print(
            f"{path.stem:<20} {row} {values[:, i].max():>8.4f} {ranks[:, i].mean():>5.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
