"""`import_sweep`: the runs of a finished sweep as a map, and what to run next."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from betaplane.errors import BadInput, nearest
from betaplane.maps.imports.imported_run import ENGINE
from betaplane.maps.imports.read import import_runs, read_sweep
from betaplane.maps.phase_map import PhaseMap, Thresholds
from betaplane.maps.plan_checks import check_thresholds
from betaplane.maps.resources import temporary_store
from betaplane.maps.scattered import Scattered, scattered_map, spanning_axis, varied_settings
from betaplane.maps.store.run_record import Record
from betaplane.maps.store.store import Store
from betaplane.text import plural

NEXT = 8  # runs that are proposed


@dataclass(frozen=True, repr=False)
class Sweep:
    """A finished sweep as a map."""

    map: PhaseMap  # its runs are drawn where they are, on the surface that they support
    imported: int  # new runs in the store
    scattered: Scattered = field(repr=False)

    def __repr__(self) -> str:
        return f"Sweep({self.map!r}, {plural(self.map.trainings, 'run')})"

    def next_settings(self, count: int = NEXT) -> list[dict[str, float]]:
        """The settings of the most informative next runs, the most informative first.

        Args:
            count: number of runs, in [1, 1000].
        """
        if not (isinstance(count, int) and 1 <= count <= 1000):
            raise BadInput(
                "The number of runs is out of range",
                value=count,
                allowed="[1, 1000]",
                where="next",
                instead="next=8",
            )
        return self.scattered.next_settings(count)


def import_sweep(
    source: str | Path,
    x: str | None = None,
    y: str | None = None,
    *,
    store: str | Path | None = None,
    loss: str | None = None,
    study: str | None = None,
    initial: float | None = None,
    best: float | None = None,
    thresholds: Thresholds = Thresholds(),
) -> Sweep:
    """Read a finished sweep, keep its runs in a store, and draw them as a map.

    Args:
        source: a CSV, JSON Lines or Parquet file (columns: settings, seed, step, loss or final
            loss); the URL of an Optuna study; a folder of W&B's offline runs, of MLflow or of
            TensorBoard; a database of MLflow (SQLite).
        x: the horizontal axis; by default the first of beta1, beta2, lr, ... that varies.
        y: the vertical axis; by default the second.
        store: file that keeps the runs, from which `map_phases` continues. None: none.
        loss: name of the column or metric of the loss; by default the usual names are tried.
        study: name of the Optuna study, if there are several.
        initial: the loss before training, if the sweep has final losses only.
        best: the loss that scores 0. None: the lowest final loss.
        thresholds: the scores at which verdicts change.

    Raises:
        BadInput: the sweep cannot be read, has no losses, or varies fewer than two settings.

    Example:
        >>> import tempfile
        >>> rows = ["beta2,lr,final_loss"] + [
        ...     f"{b},{lr},{0.1 if b > 0.9 else 2.0}" for b in (0.5, 0.8, 0.95, 0.99) for lr in (0.01, 0.1)
        ... ]
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     _ = file.write("\\n".join(rows))
        ...     file.flush()
        ...     sweep = import_sweep(file.name, initial=2.3)
        >>> sweep.map.word(beta2=0.99, lr=0.01), sweep.map.word(beta2=0.5, lr=0.01)
        ('good', 'failing')
        >>> len(sweep.next_settings(3))
        3
    """
    check_thresholds(thresholds)
    runs = read_sweep(str(source), loss=loss, study=study)
    with ExitStack() as stack:
        path = Path(store) if store is not None else temporary_store(stack)
        imported = import_runs(runs, path, Path(str(source)).stem, initial)
        with Store.reopen(path) as opened:
            records = [record for record in opened.all() if record.engine == ENGINE]
            name = opened.problem
    return _sweep(records, name, x, y, imported, thresholds, best)


def _sweep(
    records: Sequence[Record],
    name: str,
    x: str | None,
    y: str | None,
    imported: int,
    thresholds: Thresholds,
    best: float | None,
) -> Sweep:
    x, y = _axis_names(records, x, y)
    used = [r for r in records if x in r.settings and y in r.settings]
    axes = spanning_axis(x, used, "x"), spanning_axis(y, used, "y")
    scattered = Scattered(used, *axes, thresholds, best)
    if best is not None and not best < scattered.initial:
        raise BadInput(
            "The best loss is not below the loss before training",
            value=best,
            allowed=f"a loss below {scattered.initial:g}",
            where="best",
            instead="best=0.0",
        )
    facts = {"ended": "imported", "engine": ENGINE, "seeds": "as imported"}
    others = [setting for setting in varied_settings(used) if setting not in (x, y)]
    if others:
        facts["also varied"] = f"{', '.join(others)}: runs are drawn whatever their value"
    return Sweep(scattered_map(scattered, name, facts), imported, scattered)


def _axis_names(records: Sequence[Record], x: str | None, y: str | None) -> tuple[str, str]:
    names = varied_settings(records)
    for argument, name in (("x", x), ("y", y)):
        if name is not None and names and name not in names:
            raise BadInput(
                f"The runs do not vary {name}",
                allowed=f"one of {', '.join(names)}",
                where=argument,
                instead=f"{argument}={nearest(name, names, names[0])!r}",
            )
    free = [name for name in names if name not in (x, y)]
    first = x or (free.pop(0) if free else None)
    second = y or (free.pop(0) if free else None)
    if first is None or second is None or first == second:
        raise BadInput(
            "A map needs two settings that vary",
            value=", ".join(names) or "none",
            allowed="two settings with several values",
            where="x, y",
        )
    return first, second
