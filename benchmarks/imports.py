"""Finished sweeps as maps: `python -m benchmarks.imports [maps] [studies] [next]`.

`maps`: an Optuna study of 60 trials and a CSV of 200 irregular runs on the counterexample (n = 10),
trained; the share of the plane that their maps judge wrongly, against the exact boundary, and that
of a regular grid of as many runs, each of which stands for its cell. Required: at most that of the
grid.

`next`: eight runs that a map proposes, against eight random ones, repeatedly, from 60 irregular
runs; how many more runs halve the misjudged share. Required: fewer, over ten repetitions. A run's
verdict is the exact one here.
"""

from __future__ import annotations

import csv
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from betaplane.maps import axis, import_sweep
from betaplane.maps.sampling.infer import judge_places
from betaplane.maps.scattered import Scattered
from betaplane.maps.store.run_record import Record
from betaplane.problems import counterexample
from betaplane.replicas import Run, train_stacked
from betaplane.rules import Adam

SIDE = 100  # places per axis at which a map is compared with the exact boundary
EXTENT = np.array([2.0, 4.0])  # decades of the horizons of beta1 and beta2
REPEATS, ROUNDS, BATCH, START = 10, 8, 8, 60
AT_ONCE = {"random": 60, "TPE": 10, "boundary": 1}
TABLES, STUDIES = 3, 2  # sweeps of each kind
GRIDS = {60: (6, 10), 200: (10, 20)}
PROBLEM = counterexample(n=10)
BETAS = ("beta1", "beta2")
Place = Sequence[float]


def places_of_plane() -> np.ndarray:
    shares = (np.arange(SIDE) + 0.5) / SIDE
    return np.array([(x, y) for x in shares * EXTENT[0] for y in shares * EXTENT[1]])


PLANE = places_of_plane()


def betas(place: Place) -> dict[str, float]:
    return {name: float(1 - 10.0**-at) for name, at in zip(BETAS, place, strict=True)}


def exact(place: Place) -> bool:
    """Whether Adam diverges at a place."""
    setting = betas(place)
    return setting["beta2"] < BOUNDARY(setting["beta1"])


def boundary() -> Callable[[float], float]:
    known = PROBLEM.boundary
    assert known is not None
    cache: dict[float, float] = {}
    return lambda beta1: cache.setdefault(beta1, known(beta1))


BOUNDARY = boundary()
TRUTH = np.array([exact(place) for place in PLANE])


def trained(places: Sequence[Place]) -> list[float]:
    """The final losses at places."""
    runs = [Run(Adam(**betas(place)), PROBLEM.lr, PROBLEM.batch_size, seed=0) for place in places]
    return [outcome.final for outcome in train_stacked(PROBLEM, runs)]


INITIAL = train_stacked(PROBLEM, [Run(Adam(), PROBLEM.lr, PROBLEM.batch_size, seed=0)])[0].initial


def misjudged(scattered: Scattered) -> float:
    verdicts, _ = judge_places(scattered.votes, PLANE)
    return float(((verdicts == 2) != TRUTH).mean())


def of_grid(runs: int) -> float:
    """The misjudged share of a regular grid of runs."""
    sides = [(np.arange(n) + 0.5) / n * end for n, end in zip(GRIDS[runs], EXTENT, strict=True)]
    places = [(x, y) for x in sides[0] for y in sides[1]]
    best, finals = PROBLEM.best, np.array(trained(places))
    assert best is not None
    fails = ~((finals - best) / (INITIAL - best) <= 0.5)
    nearest = np.square(PLANE[:, None] - np.array(places)[None]).sum(-1).argmin(1)
    return float((fails[nearest] != TRUTH).mean())


def of_csv(runs: int, seed: int, folder: Path) -> float:
    places = np.random.default_rng(seed).random((runs, 2)) * EXTENT
    finals = trained(list(places))
    path = folder / "sweep.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*BETAS, "seed", "final_loss"])
        writer.writeheader()
        for place, final in zip(places, finals, strict=True):
            writer.writerow({**betas(place), "seed": 0, "final_loss": final})
    return misjudged(import_sweep(path, *BETAS, initial=INITIAL, best=PROBLEM.best).scattered)


def of_study(runs: int, seed: int, folder: Path, name: str) -> float:
    """The misjudged share of a study whose sampler is random, TPE, or the boundary sampler."""
    import optuna

    from betaplane.maps import OptunaBoundarySampler

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = {
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        "TPE": lambda: optuna.samplers.TPESampler(seed=seed),
        "boundary": lambda: OptunaBoundarySampler(
            "x", "y", initial=INITIAL, best=PROBLEM.best, seed=seed
        ),
    }
    url = f"sqlite:///{folder}/{name}-{seed}.db"
    study = optuna.create_study(storage=url, sampler=samplers[name]())

    for _ in range(0, runs, AT_ONCE[name]):  # trials that are trained side by side
        trials = [study.ask() for _ in range(AT_ONCE[name])]
        places = []
        for trial in trials:
            places.append(
                [trial.suggest_float(n, 0, float(end)) for n, end in zip("xy", EXTENT, strict=True)]
            )
            for beta, value in betas(places[-1]).items():
                trial.set_user_attr(beta, value)
        for trial, final in zip(trials, trained(places), strict=True):
            study.tell(trial, final)
    return misjudged(import_sweep(url, *BETAS, initial=INITIAL, best=PROBLEM.best).scattered)


def maps() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for runs in GRIDS:
            print(f"regular grid of {runs} runs: {of_grid(runs):.2%} misjudged", flush=True)
        studies()
        shares = [of_csv(200, seed, folder) for seed in range(TABLES)]
        print(f"CSV of 200 irregular runs: {_text(shares)}", flush=True)


def studies() -> None:
    with tempfile.TemporaryDirectory() as name:
        for sampler in AT_ONCE:
            shares = [of_study(60, seed, Path(name), sampler) for seed in range(STUDIES)]
            print(f"Optuna study of 60 trials, {sampler}: {_text(shares)}", flush=True)


def _text(shares: list[float]) -> str:
    return f"{np.mean(shares):.2%} misjudged ({min(shares):.2%} to {max(shares):.2%})"


def record(place: Place, number: int) -> Record:
    final = 2.0 if exact(place) else 0.0
    return Record(str(number), betas(place), 0, 1, 1.0, final, np.array([final], np.float32))


def until_half(propose: Callable[[Scattered], Sequence[Place]], seed: int) -> float:
    """Runs beyond the first until the misjudged share is halved; inf if ROUNDS do not suffice."""
    axes = axis("beta1", 0, 0.99, 48), axis("beta2", 0, 0.9999, 48)
    start = np.random.default_rng(seed).random((START, 2)) * EXTENT
    scattered = Scattered([record(place, k) for k, place in enumerate(start)], *axes)
    first = misjudged(scattered)
    for done in range(BATCH, BATCH * ROUNDS + 1, BATCH):
        new = [record(place, START + done + k) for k, place in enumerate(propose(scattered))]
        scattered = Scattered([*scattered.records, *new], *axes)
        if misjudged(scattered) <= first / 2:
            return done
    return math.inf


def next_runs() -> None:
    faster = 0
    for seed in range(REPEATS):
        random = np.random.default_rng(1000 + seed)

        def proposed(scattered: Scattered) -> list[Place]:
            return [scattered.place(setting) for setting in scattered.next_settings(BATCH)]

        def drawn(_: Scattered, random=random) -> list[Place]:
            return list(random.random((BATCH, 2)) * EXTENT)

        ours, theirs = until_half(proposed, seed), until_half(drawn, seed)
        faster += ours < theirs
        print(
            f"  repetition {seed}: {ours:g} proposed runs halve it, {theirs:g} random ones",
            flush=True,
        )
    print(f"proposed runs are faster in {faster} of {REPEATS} repetitions")


def main() -> None:
    figures = {"maps": maps, "studies": studies, "next": next_runs}
    for name in sys.argv[1:] or ("maps", "next"):
        figures[name]()


if __name__ == "__main__":
    main()
