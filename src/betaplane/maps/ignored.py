"""Settings that a training function ignores: its losses are the same to the last bit at all
values.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from betaplane.maps.store.run_record import Record
from betaplane.problems import Problem, Trainer
from betaplane.text import format_number

# The first loss is that before training. The first update of Adam is lr g / (|g| + eps), so that the
# second loss does not depend on the betas.
MIN_LOSSES = 3


def ignored_settings(records: Iterable[Record], names: Sequence[str]) -> dict[str, list[float]]:
    """The settings without effect, and the values at which runs were the same.

    A setting has no effect if all runs that differ in it alone have the same losses, to the last
    bit. Runs with fewer than 3 losses, and those that diverged, are not compared.

    Args:
        records: finished runs.
        names: the settings to examine.

    Example:
        >>> def run(lr, beta2, *losses):
        ...     settings = {"lr": lr, "beta2": beta2}
        ...     return Record("", settings, 0, 1, 0.0, 0.0, np.float32(losses), 0.0, "callable")
        >>> runs = [run(lr, b, 2.0, 2 - lr, 2 - 2 * lr) for lr in (0.1, 0.2) for b in (0.9, 0.99)]
        >>> ignored_settings(runs, ["lr", "beta2"])
        {'beta2': [0.9, 0.99]}
    """
    compared = [r for r in records if len(r.curve) >= MIN_LOSSES and np.isfinite(r.curve).all()]
    values = {name: _values_without_effect(compared, name) for name in names}
    return {name: found for name, found in values.items() if found}


def _values_without_effect(records: Iterable[Record], name: str) -> list[float]:
    """The values of a setting at which runs were compared, if all of them were the same."""
    alike: dict[tuple, dict[float, bytes]] = defaultdict(dict)
    for record in records:
        if name in record.settings:
            rest = {key: value for key, value in record.settings.items() if key != name}
            key = repr(sorted(rest.items())), record.seed, record.steps
            alike[key][float(record.settings[name])] = record.curve.tobytes()
    groups = [curves for curves in alike.values() if len(curves) > 1]
    if any(len(set(curves.values())) > 1 for curves in groups):
        return []
    return sorted({value for curves in groups for value in curves})


def ignored_text(
    problem: Problem | Trainer, records: Iterable[Record], names: Sequence[str]
) -> str:
    """The settings without effect, as a sentence; empty if there are none.

    Runs of a Problem are not compared, since its engines apply every setting.
    """
    sentences = []
    ignored = ignored_settings(records, names) if isinstance(problem, Trainer) else {}
    for name, values in ignored.items():
        low, high = (format_number(name, value) for value in (values[0], values[-1]))
        sentences.append(
            f"{name} had no effect: runs from {low} to {high} have the same losses to the last bit"
            f" (does the training use settings[{name!r}]?)"
        )
    return "; ".join(sentences)
