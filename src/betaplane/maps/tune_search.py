"""The search of `tune`: the learning rate first, then settings from which a model expects most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import numpy as np

from betaplane.maps.decision import Gain, gain, heights, is_positive, largest_likely
from betaplane.maps.tune_model import Model, fitted

BETA1S = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
BETA2S = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999)
MAX_LR_STEPS = 10  # factors of sqrt(3) away from the given learning rate
COARSE = 2  # steps of the walk along lr: a factor of 3
FIRST_SEED = 0  # of every run of the search
FIRST_FRESH_SEED = 1000  # of those that compare the best setting with the default
CLIP = 1.5  # heights this far above the best are equally useless
OPTIMISM = 0.5  # standard deviations of the model by which the next setting is preferred
# The search ends if no setting could be better by more than NEGLIGIBLE, at so many standard
# deviations; a model of fewer settings than FEWEST is not trusted to say so.
CONFIDENCE, NEGLIGIBLE, FEWEST = 2.0, 0.002, 36

Cell = tuple[int, int, int]  # index of lr, beta1, beta2


class Trainable(Protocol):
    """What trains settings, such as `Trials`."""

    def finals(self, settings: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> np.ndarray:
        """Final losses, (settings, seeds)."""
        ...

    def initials(self, seeds: Sequence[int]) -> np.ndarray:
        """Losses before training, (seeds,)."""
        ...


@dataclass(frozen=True)
class Lattice:
    """The settings that may be tried."""

    lrs: tuple[float, ...]
    beta1s: tuple[float, ...]
    beta2s: tuple[float, ...]
    start: int  # index of the given learning rate
    default_betas: tuple[float, float] = (0.9, 0.999)

    @classmethod
    def around(cls, lr: float, default_betas: tuple[float, float], reach: int) -> Lattice:
        """Learning rates up to `reach` factors of sqrt(3) away from the given one, and betas that
        include the default.
        """
        lrs = [float(f"{lr * 3 ** (k / 2):.6g}") if k else lr for k in range(-reach, reach + 1)]
        beta1, beta2 = default_betas
        beta1s, beta2s = sorted({*BETA1S, beta1}), sorted({*BETA2S, beta2})
        return cls(tuple(lrs), tuple(beta1s), tuple(beta2s), reach, default_betas)

    def cells(self) -> list[Cell]:
        """All cells with beta1 < sqrt(beta2)."""
        sizes = (len(self.lrs), len(self.beta1s), len(self.beta2s))
        return [
            (k, i, j)
            for k, i, j in product(*map(range, sizes))
            if self.beta1s[i] < math.sqrt(self.beta2s[j])
        ]

    def at(self, cell: Cell) -> dict[str, float]:
        """The setting of a cell."""
        k, i, j = cell
        return {"lr": self.lrs[k], "beta1": self.beta1s[i], "beta2": self.beta2s[j]}

    def decades(self, cells: Sequence[Cell]) -> np.ndarray:
        """log10 of lr and of the horizons of beta1 and beta2, (cells, 3)."""
        settings = map(self.at, cells)
        rows = [(s["lr"], 1 / (1 - s["beta1"]), 1 / (1 - s["beta2"])) for s in settings]
        return np.log10(rows)

    def default(self, k: int) -> Cell:
        """The default betas at a learning rate."""
        beta1, beta2 = self.default_betas
        return k, self.beta1s.index(beta1), self.beta2s.index(beta2)

    def ends(self, cell: Cell) -> list[str]:
        """What stands at an end of the lattice that is not an end of the possible."""
        sizes = {"lr": len(self.lrs), "beta1": len(self.beta1s), "beta2": len(self.beta2s)}
        at = dict(zip(sizes, cell, strict=True))
        low = [name for name in ("lr", "beta2") if at[name] == 0 and sizes[name] > 1]
        high = [name for name in sizes if at[name] == sizes[name] - 1 and sizes[name] > 1]
        return low + high


@dataclass(frozen=True)
class Comparison:
    """The setting to use, and how it compares with the default on fresh seeds."""

    cell: Cell
    best_default: Cell  # the default betas at their best learning rate
    finals: tuple[float, ...]  # of the setting, one per fresh seed
    over_default: Gain  # over the default betas at the given learning rate
    over_best_lr: Gain  # of the best setting over the default betas at their best learning rate


class Search:
    """One search in progress.

    Args:
        trials: trains the settings.
        lattice: the settings that may be tried.
        max_runs: maximum number of runs, with those of the comparison on fresh seeds.
        fresh: number of fresh seeds, at least 2.
    """

    def __init__(self, trials: Trainable, lattice: Lattice, max_runs: int, fresh: int = 4) -> None:
        self.trials = trials
        self.lattice = lattice
        self.fresh_seeds = range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + fresh)
        self.losses: dict[Cell, dict[int, float]] = {}  # by cell and seed, in the order tried
        self.max_search_runs = max_runs - reserved_runs(fresh)

    def run(self) -> Comparison:
        """Search, then compare the best setting with the default on fresh seeds."""
        self._walk_lr()
        self._explore()
        return self._compare(self._best())

    def _walk_lr(self) -> None:
        """Try factors of 3 at the default betas, in both directions, as long as the loss falls."""
        for step in (COARSE, -COARSE):
            k, lowest = self.lattice.start, self._height(self.lattice.start)
            while 0 <= k + step < len(self.lattice.lrs) and not self._is_spent():
                k += step
                height = self._height(k)
                lost = step < 0 and self._is_useless()  # a smaller learning rate may converge
                if height >= lowest and not lost:
                    break
                lowest = height

    def _explore(self) -> None:
        """Try the most promising setting, until none could be better."""
        cells = self.lattice.cells()
        decades = self.lattice.decades(cells)
        while not self._is_spent():
            mean, deviation = self._model().posterior(decades)
            tried = np.array([cell in self.losses for cell in cells])
            could_be = np.where(tried, np.inf, mean - CONFIDENCE * deviation)
            is_over = could_be.min() > mean[tried].min() - NEGLIGIBLE
            if tried.all() or (is_over and tried.sum() >= FEWEST):
                return
            promise = np.where(tried, np.inf, mean - OPTIMISM * deviation)
            self._train([cells[int(promise.argmin())]], [FIRST_SEED])

    def _best(self) -> Cell:
        """The best of the settings that were tried, by the model: it averages over neighbors."""
        tried = list(self.losses)
        mean, _ = self._model().posterior(self.lattice.decades(tried))
        return tried[int(mean.argmin())]

    def _compare(self, best: Cell) -> Comparison:
        given = self.lattice.default(self.lattice.start)
        known = self._heights()
        best_lr = min((cell for cell in known if cell[1:] == given[1:]), key=known.__getitem__)
        cells = (given, best_lr, best)
        finals, initial = (
            self._train(cells, self.fresh_seeds),
            self.trials.initials(self.fresh_seeds),
        )
        over_given = [gain(losses, finals[0], initial) for losses in finals]
        chosen = largest_likely(over_given)
        return Comparison(
            cells[chosen],
            best_lr,
            tuple(finals[chosen].tolist()),
            over_given[chosen],
            gain(finals[2], finals[1], initial),
        )

    def _train(self, cells: Sequence[Cell], seeds: Sequence[int]) -> np.ndarray:
        finals = self.trials.finals([self.lattice.at(cell) for cell in cells], seeds)
        for cell, losses in zip(cells, finals, strict=True):
            self.losses.setdefault(cell, {}).update(zip(seeds, losses.tolist(), strict=True))
        return finals

    def _height(self, k: int) -> float:
        """The height of the default betas at a learning rate; trains it if necessary."""
        cell = self.lattice.default(k)
        if cell not in self.losses:
            self._train([cell], [FIRST_SEED])
        return self._heights()[cell]

    def _heights(self) -> dict[Cell, float]:
        """The heights of what was tried, over the first seed: see `decision.heights`.

        Without logarithms they are shares of the largest decrease of the loss.
        """
        tried = {cell: runs[FIRST_SEED] for cell, runs in self.losses.items() if FIRST_SEED in runs}
        finals = np.array(list(tried.values()))[:, None]
        initial = self.trials.initials([FIRST_SEED])
        of_loss = is_positive(finals, initial)
        values = heights(finals, initial, of_loss)[:, 0]
        decrease = float(initial[0] - values.min())
        if not of_loss and decrease > 0:
            values = values / decrease
        return dict(zip(tried, values.tolist(), strict=True))

    def _is_useless(self) -> bool:
        """Whether no run ended below its initial loss."""
        finals = [runs[FIRST_SEED] for runs in self.losses.values()]
        initial = self.trials.initials([FIRST_SEED])[0]
        return not any(final < initial for final in finals)

    def _model(self) -> Model:
        known = self._heights()
        values = np.array(list(known.values()))
        clipped = np.minimum(values, values.min() + CLIP)
        return fitted(self.lattice.decades(list(known)), clipped)

    def _is_spent(self) -> bool:
        return sum(len(runs) for runs in self.losses.values()) >= self.max_search_runs


def reserved_runs(fresh: int) -> int:
    """Runs that the comparison takes at most."""
    return 3 * fresh
