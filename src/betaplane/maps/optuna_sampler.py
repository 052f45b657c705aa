"""An Optuna sampler that looks for the boundary between good and failing settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from betaplane.errors import BadInput
from betaplane.maps.grid import Axis, is_beta
from betaplane.maps.imports.imported_run import ImportedRun
from betaplane.maps.imports.optuna_study import trial_run
from betaplane.maps.scattered import Scattered

STARTUP = 16  # trials that are spread evenly before the first proposal
ENDS = 48  # values of an axis


class OptunaBoundarySampler:
    """Propose the runs that are most informative about where training fails, in a study of your own.

    The first trials are spread evenly. Each later one is the most informative next run, as
    `betaplane import` proposes it. Parameters that are not on an axis are drawn at random. The
    study needs the two parameters as `suggest_float(name, low, high)`.

    Args:
        x: name of a parameter: a beta (by its memory horizon), or another one (by its logarithm if
            it was suggested with log=True).
        y: name of another parameter.
        initial: the loss before training, which scores 1. None: the first intermediate value that
            the trials report.
        best: the loss that scores 0. None: the lowest of the study.
        startup: number of trials that are spread evenly, >= 1.
        seed: of the parameters that are drawn at random.

    Example:
        >>> import optuna
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> study = optuna.create_study(sampler=OptunaBoundarySampler("beta2", "lr", initial=1.0))
        >>> def train(trial):
        ...     beta2, lr = trial.suggest_float("beta2", 0, 0.999), trial.suggest_float("lr", 1e-3, 1, log=True)
        ...     return 0.1 if beta2 > 0.9 else 2.0
        >>> study.optimize(train, n_trials=18)
        >>> len(study.trials)
        18

    Source: the worth of a run is that of `betaplane.maps.sampling.acquisition`.
    """

    def __init__(
        self,
        x: str = "beta1",
        y: str = "beta2",
        *,
        initial: float | None = None,
        best: float | None = None,
        startup: int = STARTUP,
        seed: int = 0,
    ) -> None:
        if x == y:
            raise BadInput("Both axes are the same", value=x, where="x, y", instead='y="lr"')
        if startup < 1:
            raise BadInput(
                "startup is out of range", value=startup, allowed="[1, inf)", instead="startup=16"
            )
        self.x, self.y = x, y
        self.initial, self.best = initial, best
        self.startup = startup
        self._seed = seed
        self._random: Any = None

    def reseed_rng(self) -> None:
        """Seed the parameters that are drawn at random, in a new worker of a study."""
        self._seed = int(np.random.default_rng().integers(2**31))
        self._random = None

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        """The distributions of the two parameters, as earlier trials suggested them."""
        for earlier in reversed(study.get_trials(deepcopy=False)):
            found = {name: earlier.distributions.get(name) for name in (self.x, self.y)}
            if all(found.values()):
                return found
        return {}

    def sample_relative(
        self, study: Any, trial: Any, search_space: Mapping[str, Any]
    ) -> dict[str, float]:
        """The values of the two parameters; {} before the first trial has shown their ranges."""
        if not search_space:
            return {}
        x, y = (_axis(name, search_space[name]) for name in (self.x, self.y))
        runs = [run for each in study.get_trials(deepcopy=False) if (run := self._run(each))]
        if trial.number < self.startup or not runs:
            return _even(x, y, trial.number)
        records = [run.record(self._initial(runs)) for run in runs]
        (proposed,) = Scattered(records, x, y, best=self.best).next_settings(1)
        return {ax.name: _inside(ax, proposed[ax.name]) for ax in (x, y)}

    def sample_independent(
        self, study: Any, trial: Any, param_name: str, param_distribution: Any
    ) -> Any:
        """A value at random, for other parameters and for the first trial."""
        from optuna.samplers import RandomSampler

        if self._random is None:
            self._random = RandomSampler(seed=self._seed)
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Any, trial: Any) -> None:
        """Nothing is prepared; Optuna calls this before each trial."""

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        """Nothing is kept; Optuna calls this after each trial."""

    def _run(self, trial: Any) -> ImportedRun | None:
        run = trial_run(trial)
        if run is None or not {self.x, self.y} <= trial.params.keys():
            return None
        return replace(run, settings={name: trial.params[name] for name in (self.x, self.y)})

    def _initial(self, runs: list[ImportedRun]) -> float:
        firsts = [run.losses[0] for run in runs if not run.is_final]
        if self.initial is None and not firsts:
            raise BadInput(
                "The loss before training is not known: the trials report final losses only",
                where="OptunaBoundarySampler",
                instead="initial=2.3",
            )
        return float(np.median(firsts)) if self.initial is None else self.initial


def _axis(name: str, distribution: Any) -> Axis:
    """The axis of a parameter, with the ends of its distribution."""
    low, high = float(distribution.low), float(distribution.high)
    is_log = is_beta(name) or getattr(distribution, "log", False)
    ends = Axis(name, (low, high), "log" if is_log else "linear")
    first, last = ends.positions
    places = np.linspace(first, last, ENDS)
    inner = [ends.value(float(place)) for place in places[1:-1]]
    return Axis(name, (low, *inner, high), ends.scale)


def _even(x: Axis, y: Axis, number: int) -> dict[str, float]:
    """The place of a trial in a sequence that fills the plane evenly (R2, Roberts 2018)."""
    root = 1.32471795724474602596  # of t^3 = t + 1
    shares = [math.modf(0.5 + (number + 1) / root**power)[0] for power in (1, 2)]
    values = {}
    for ax, share in zip((x, y), shares, strict=True):
        first, last = ax.positions[0], ax.positions[-1]
        values[ax.name] = _inside(ax, ax.value(float(first + share * (last - first))))
    return values


def _inside(ax: Axis, value: float) -> float:
    return float(min(max(value, ax.values[0]), ax.values[-1]))
