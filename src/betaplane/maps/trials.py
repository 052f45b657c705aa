"""Final losses of settings over the same seeds, so that settings can be compared seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from betaplane.maps.plan import Plan
from betaplane.maps.scheduler import RunScheduler
from betaplane.maps.store.run_record import Record
from betaplane.maps.tasks import Task
from betaplane.maps.verdicts import median_of_finite

Setting = Mapping[str, float]  # hyperparameters by name, for what differs from the plan


class Trials:
    """Train settings of a plan, also beyond its grid; a run is trained once.

    Runs with the same seed have the same initialization and the same minibatches. So the difference
    of two settings has less noise than either of them. If runs do not depend on the seed, one run
    has the losses of all seeds.

    Args:
        plan: gives what the settings leave out: rule, lr, batch size, steps.
        scheduler: trains the runs.
    """

    one_seed = False  # runs do not depend on the seed

    def __init__(self, plan: Plan, scheduler: RunScheduler) -> None:
        self.plan = plan
        self.scheduler = scheduler
        self.one_seed = plan.one_seed
        self.records: dict[str, Record] = {}  # by the key of the run

    def finals(self, settings: Sequence[Setting], seeds: Sequence[int]) -> np.ndarray:
        """The final losses, float (len(settings), len(seeds)); inf for a run that diverged.

        Args:
            settings: what differs from the plan, such as {"lr": 0.01, "beta2": 0.99}.
            seeds: the seeds of the runs.
        """
        tasks = [self._task(setting, seed) for setting in settings for seed in seeds]
        self.records |= self.scheduler.finished(list({task.key: task for task in tasks}.values()))
        finals = [self.records[task.key].final for task in tasks]
        return np.array(finals).reshape(len(settings), len(seeds))

    def initials(self, seeds: Sequence[int]) -> np.ndarray:
        """The losses before training, float (len(seeds),); of seeds that were trained."""
        records = [r for r in self.records.values() if np.isfinite(r.initial)]
        by_seed = {record.seed: record.initial for record in records}
        usual = median_of_finite(by_seed.values())
        return np.array([by_seed.get(seed, usual) for seed in seeds])

    def curve(self, setting: Setting, seed: int) -> np.ndarray:
        """The loss curve of a run that was trained, float32 (points,)."""
        return self.records[self._task(setting, seed).key].curve

    def _task(self, setting: Setting, seed: int) -> Task:
        run = self.plan.run_with(setting, 0 if self.one_seed else seed)
        return Task(self.plan.key(run), run)
