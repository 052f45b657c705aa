"""`tune` against random search and Optuna's TPE at equal numbers of runs, and against doing nothing.

`python -m benchmarks.tune [--tables DIR] [PROBLEM ...]`; a problem is the name of a file of
`benchmarks/recommend_problems` or of a built-in problem; by default those of `HELD_OUT`, which
were set aside. The lengths and options of `tune`'s model were chosen on cancer_multitask,
diabetes, illcond_linreg, matrix_fact, poisson_glm, siamese_digits and tied_autoencoder.

The losses of all settings of a lattice over learning rate, beta1 and beta2 are recorded with a few
seeds and kept in DIR: searches choose from this table. The seeds of `tune`'s comparison with the
default, and those by which all answers are scored, are trained when they are needed. Random search
and TPE draw from the lattice, which is uniform in log(lr) and in log horizons, and return the
setting with the lowest loss.

Scores: 0 is the best setting that any method returned, 1 the loss before training, by the mean loss
over eight other seeds. Printed are the median and the worst score over the repetitions. "default"
is beta1 = 0.9, beta2 = 0.999 at the given learning rate, "its lr" at its best one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.stored_maps import open_trials
from betaplane.maps.trials import Trials
from betaplane.maps.tune_search import FIRST_FRESH_SEED, Lattice, Search
from betaplane.problems import Problem
from betaplane.problems.source import as_problem

FOLDER = Path(__file__).with_name("recommend_problems")
SHORT = 100  # steps of the problems that would take too long
# Steps; None: those of the problem, and a finer lattice
HELD_OUT = {
    "heavytail_logreg": None, "graph_net": None, "mixture_density": None, "gan_ring": None,
    "digits": SHORT, "sparse": SHORT, "dropout_noisy": SHORT, "vae_digits": SHORT,
    "cnn_bn_digits": SHORT,
}  # fmt: skip
# Factors of sqrt(3) of lr on either side, beta1, beta2, and seeds
FINE = (6, (0.0, 0.5, 0.8, 0.9, 0.95, 0.98), (0.9, 0.967, 0.99, 0.9967, 0.999, 0.9997), 4)
COARSE = (5, (0.0, 0.5, 0.9, 0.95, 0.98), (0.9, 0.967, 0.99, 0.999, 0.9997), 3)
FRESH_SEEDS = 8  # from which each repetition draws
SCORE_SEEDS = range(2000, 2008)
RUNS = 48
REPETITIONS = 10

Index = tuple[int, int, int]  # of lr, beta1, beta2


class Table:
    """The losses of a problem: recorded for the seeds of searches, trained for the others.

    Args:
        path: file with the losses, see `record`.
        trials: trains the settings with other seeds.
    """

    def __init__(self, path: Path, trials: Trials) -> None:
        data = np.load(path)
        lrs = tuple(float(f"{data['lr'] * 3.0 ** (k / 2):.6g}") for k in data["ks"])
        beta1s, beta2s = tuple(map(float, data["b1"])), tuple(map(float, data["b2"]))
        self.lattice = Lattice(lrs, beta1s, beta2s, len(lrs) // 2)
        self.losses, self.initial = data["finals"], data["initial"]
        self.trials = trials

    def scores(self, indices: Sequence[Index]) -> np.ndarray:
        """The share of the decrease that each setting misses, and that the default at the given and
        at its best learning rate miss.
        """
        defaults = [self.lattice.default(k) for k in range(len(self.lattice.lrs))]
        settings = [self.lattice.at(index) for index in [*defaults, *indices]]
        finals = self.trials.finals(settings, SCORE_SEEDS)
        initial = self.trials.initials(SCORE_SEEDS)
        means = np.minimum(np.where(np.isfinite(finals), finals, np.inf), initial).mean(1)
        defaults, found = means[: len(defaults)], means[len(defaults) :]
        compared = np.array([*found, defaults[self.lattice.start], defaults.min()])
        return (compared - compared.min()) / (initial.mean() - compared.min())


class Repetition:
    """A table as one repetition sees it: with a seed for searches and fresh seeds in an order of its
    own.
    """

    def __init__(self, table: Table, number: int) -> None:
        self.table, self.number, self.lattice = table, number, table.lattice
        self.seed = number % table.losses.shape[-1]
        self.fresh = np.random.default_rng(number).permutation(FRESH_SEEDS) + FIRST_FRESH_SEED
        self.runs: set[tuple[Index, int]] = set()

    def finals(self, settings: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> np.ndarray:
        """As `Trials.finals`."""
        indices = [self.index(setting) for setting in settings]
        self.runs |= {(index, seed) for index in indices for seed in seeds}
        if min(seeds) >= FIRST_FRESH_SEED:
            return self.table.trials.finals(settings, self._fresh(seeds))
        return np.array([[self.table.losses[index][self.seed]] for index in indices])

    def initials(self, seeds: Sequence[int]) -> np.ndarray:
        """As `Trials.initials`."""
        if min(seeds) >= FIRST_FRESH_SEED:
            return self.table.trials.initials(self._fresh(seeds))
        return self.table.initial[[self.seed]]

    def index(self, setting: Mapping[str, float]) -> Index:
        """The indices of a setting."""
        lattice = self.lattice
        return (
            lattice.lrs.index(setting["lr"]),
            lattice.beta1s.index(setting["beta1"]),
            lattice.beta2s.index(setting["beta2"]),
        )

    def drawn(self, draw: Callable[[str, int], int]) -> Index:
        """A setting whose indices `draw` chooses, from a name and the number of values."""
        lrs, beta1s, beta2s = self.table.losses.shape[:3]
        return draw("lr", lrs), draw("beta1", beta1s), draw("beta2", beta2s)

    def loss(self, index: Index) -> float:
        """The loss of a run of a search."""
        final, initial = self.table.losses[index][self.seed], self.table.initial[self.seed]
        return float(min(final if np.isfinite(final) else np.inf, initial))

    def _fresh(self, seeds: Sequence[int]) -> list[int]:
        return [int(self.fresh[seed - FIRST_FRESH_SEED]) for seed in seeds]


def by_tune(seen: Repetition, runs: int) -> Index:
    """The setting that `tune` recommends."""
    return Search(seen, seen.lattice, runs).run().cell


def by_random_search(seen: Repetition, runs: int) -> Index:
    """The best of settings drawn uniformly from the lattice, one run each."""
    rng = np.random.default_rng(1000 + seen.number)
    return min(
        (seen.drawn(lambda _, size: int(rng.integers(size))) for _ in range(runs)), key=seen.loss
    )


def by_tpe(seen: Repetition, runs: int) -> Index:
    """The best setting of Optuna's TPE with its defaults, one run each."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seen.number))

    def suggested(trial: optuna.trial.BaseTrial) -> Index:
        return seen.drawn(lambda name, size: trial.suggest_int(name, 0, size - 1))

    study.optimize(lambda trial: seen.loss(suggested(trial)), n_trials=runs)
    return suggested(optuna.trial.FixedTrial(study.best_params))


METHODS: dict[str, Callable[[Repetition, int], Index]] = {
    "tune": by_tune,
    "random": by_random_search,
    "TPE": by_tpe,
}


def trials_of(source: str, steps: int | None, store: Path, stack: ExitStack) -> Trials:
    """What trains a problem; finished runs are kept in a store."""
    problem = as_problem(source)
    if steps is not None and isinstance(problem, Problem):
        problem = problem.with_(steps=steps)
    return open_trials(problem, store, stack, runs=4000, workers=0)


def record(trials: Trials, path: Path, is_fine: bool) -> None:
    """Train all settings of the lattice with the seeds of searches; write the losses."""
    reach, beta1s, beta2s, seeds = FINE if is_fine else COARSE
    ks, lr = range(-reach, reach + 1), trials.plan.lr
    lrs = [float(f"{lr * 3.0 ** (k / 2):.6g}") for k in ks]
    betas = [{"beta1": beta1, "beta2": beta2} for beta1 in beta1s for beta2 in beta2s]
    finals = trials.finals([{"lr": lr, **pair} for lr in lrs for pair in betas], range(seeds))
    arrays = {
        "finals": finals.reshape(len(lrs), len(beta1s), len(beta2s), seeds),
        "initial": trials.initials(range(seeds)),
    }
    np.savez(path, ks=list(ks), b1=beta1s, b2=beta2s, lr=lr, **arrays)  # type: ignore[arg-type]


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.tune")
    parser.add_argument("problems", nargs="*", default=list(HELD_OUT))
    parser.add_argument("--tables", type=Path, default=Path("out/tune_tables"))
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    options = parser.parse_args(words)
    options.tables.mkdir(parents=True, exist_ok=True)
    heads = [f"{name:>15}" for name in METHODS]
    print(f"{'problem':<18}{'runs':>5}{''.join(heads)}{'default':>9}{'its lr':>9}  lower than both")
    wins = [
        _print_row(name, options.tables, options.runs, options.repetitions)
        for name in options.problems
    ]
    median, worst = np.sum(wins, axis=0)
    print(f"of {len(wins)} problems, lower than both: median {median}, worst {worst}")


def _print_row(name: str, tables: Path, runs: int, repetitions: int) -> tuple[bool, bool]:
    """One line; whether the median and the worst score of `tune` are the lowest."""
    file, path = FOLDER / f"{name}.py", tables / f"{name}.npz"
    steps = HELD_OUT.get(name)
    with ExitStack() as stack:
        source = f"{file}:problem" if file.exists() else name
        trials = trials_of(source, steps, path.with_suffix(".sqlite"), stack)
        if not path.exists():
            record(trials, path, steps is None)
        table = Table(path, trials)
        seen = [Repetition(table, number) for number in range(repetitions)]
        answers = [find(one, runs) for find in METHODS.values() for one in seen]
        scores = table.scores(answers)
    *found, default, best_lr = scores
    by_method = np.reshape(found, (len(METHODS), repetitions))
    median, worst = np.median(by_method, axis=1), by_method.max(1)
    is_lower = (bool(median[0] < median[1:].min()), bool(worst[0] < worst[1:].min()))
    columns = "".join(f"{m:>8.4f}{w:>7.4f}" for m, w in zip(median, worst, strict=True))
    spent = np.median([len(one.runs) for one in seen])
    words = ", ".join(w for w, lower in zip(("median", "worst"), is_lower, strict=True) if lower)
    print(f"{name:<18}{spent:>5.0f}{columns}{default:>9.4f}{best_lr:>9.4f}  {words}", flush=True)
    return is_lower


if __name__ == "__main__":
    main(sys.argv[1:])
