"""Measurements of the user's problem: a map's window of beta2, a replay's threshold, a checkpoint."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from betaplane.advice.settings import Settings
from betaplane.errors import BadInput

SAFE_DISTANCE_DECADES = 1.0  # of memory horizon between the best beta2 and the nearest bad one
RULES = ("Adam", "AdamW")  # rules that the advice is for, as stores name them
VARIED = {"beta1", "beta2", "batch_size"}  # settings in which runs of one window may differ


@dataclass(frozen=True)
class Window:
    """The good values of beta2 on a map, at one beta1 and one batch size."""

    problem: str
    beta1: float
    batch: float | None  # samples per step; None if a Trainer has its own
    low: float  # smallest of the good beta2 around the best one
    high: float  # largest of them
    # the beta2 of lowest loss among those a decade of memory horizon from any bad one, or among
    # those farthest from any bad one
    best: float
    trainings: int  # number of runs
    open_low: bool  # True if `low` is the smallest beta2 on the map: the window may be wider
    open_high: bool  # True if `high` is the largest one


@dataclass(frozen=True)
class Threshold:
    """The smallest beta2 at which recorded gradients give a good mean update; NaN if none does."""

    beta2: float  # 0 if every beta2 does
    beta1: float
    rows: int  # minibatches in the recording
    changed: str  # "" at the recorded batch size, else how the batches were changed


@dataclass(frozen=True)
class Checkpoint:
    """Settings and second moments of the optimizer state in a file."""

    settings: Settings  # of the first parameter group
    numbers: int  # elements of the second moments
    steps: float  # the largest step count
    damped: float  # fraction of them with sqrt(v_hat) < eps
    zero: float  # fraction of them that are exactly 0


def window(path: str | Path, batch: float, beta1: float = 0.9, good: float = 0.05) -> Window:
    """Read the window of good beta2 from the store of a map.

    It uses the longest runs of Adam or AdamW, with the lr and other settings that most of these
    have, at the nearest batch size and beta1. A beta2 is good if the median of its losses scores
    below `good`, where 0 is the best loss of all runs and 1 the initial loss, as on a map.

    Args:
        path: the store that `betaplane map` wrote.
        batch: samples per step, > 0.
        beta1: in [0, 1).
        good: largest score of a good setting, in (0, 1).

    Returns:
        The connected good values of beta2 around the best one.

    Raises:
        BadInput: the file is missing or not a store, it has no map over beta2, or no run on it
            trains well.

    Source: runs of your own.
    """
    from betaplane.maps.store.store import Store

    with Store.reopen(path) as store:
        problem = store.problem
        records = [record for record in store.all() if record.settings.get("rule") in RULES]
    rows = _nearest(_nearest(_of_one_plan(records), "batch_size", batch), "beta1", beta1)
    losses: dict[float, list[float]] = {}
    for row in rows:
        losses.setdefault(float(row.settings["beta2"]), []).append(row.final)
    if len(losses) < 2:
        raise BadInput(
            "The store has no map over beta2",
            value=len(losses),
            allowed=f"at least 2 values of beta2, trained with {' or '.join(RULES)}",
            where=str(path),
            instead="betaplane map digits",
        )
    initial = median(row.initial for row in rows)
    finals = {beta2: median(losses[beta2]) for beta2 in sorted(losses)}
    place = _place(rows[0])
    if not min(finals.values()) < initial:
        lr = rows[0].settings["lr"]
        raise BadInput(
            "No run on the map trains well",
            value=min(finals.values()),
            allowed=f"a final loss below the initial {initial:.4g} "
            f"at beta1 = {place[0]:g}, lr = {lr:g}",
            where=str(path),
            instead=f"a map at lr={lr / 10:g}",
        )
    return _window(problem, place, finals, initial, good, len(rows))


def threshold(path: str | Path, batch: float, beta1: float = 0.9) -> Threshold:
    """Predict the smallest good beta2 from recorded gradients, without training.

    Args:
        path: the file that `betaplane record` or `record_gradients` wrote.
        batch: samples per step: the recorded batch size, a smaller one, or a multiple of it.
        beta1: in [0, 1).

    Returns:
        The threshold at that beta1 and batch size.

    Raises:
        BadInput: the file is missing or invalid, or it cannot give this batch size.

    Source: gradients of your own; `betaplane.replay.thresholds`.
    """
    from betaplane.replay import load, replay_gradients, thresholds, with_batch_size

    stream = load(path)
    stream = stream if stream.batch_size == batch else with_batch_size(stream, round(batch))
    beta2 = float(thresholds(replay_gradients(stream, [beta1]))[0])
    return Threshold(beta2, beta1, stream.steps, stream.changed)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read the settings and the second moments of an optimizer checkpoint.

    All formats of `betaplane inspect` are supported, including 8-bit states. No code in the file is
    run.

    Args:
        path: the file that `torch.save(optimizer.state_dict(), path)` wrote, or another checkpoint
            with the moments of Adam.

    Returns:
        Its settings and statistics of its second moments.

    Raises:
        BadInput: the file is missing, or has no state of an Adam-type optimizer.

    Source: a checkpoint of your own.

    Example:
        >>> import tempfile, torch
        >>> x = torch.nn.Parameter(torch.ones(4))
        >>> optimizer = torch.optim.AdamW([x], lr=1e-3, eps=1e-6)
        >>> x.grad = torch.tensor([1.0, 1e-3, 1e-9, 0.0])
        >>> optimizer.step()
        >>> with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        ...     torch.save(optimizer.state_dict(), file.name)
        ...     checkpoint = read_checkpoint(file.name)
        >>> checkpoint.settings.eps, checkpoint.damped, checkpoint.zero
        (1e-06, 0.5, 0.25)
    """
    from betaplane.checkpoints import read_checkpoint as read  # imported lazily: it imports torch
    from betaplane.checkpoints.health import health

    try:
        layers = [layer for layer in read(path, eps=1e-8).layers if layer.v is not None]
    except BadInput as error:
        raise BadInput(
            error.what,
            value=error.value,
            allowed=error.allowed,
            where="checkpoint",
            instead=error.instead,
        ) from error
    if not layers:
        raise BadInput(
            "The file has no second moments that can be read",
            value=str(path),
            where="checkpoint",
        )
    measured = [health(layer) for layer in layers]
    numbers = sum(h.numbers for h in measured)
    damped = sum(h.damped * h.numbers for h in measured) / numbers
    zero = sum(h.zero * h.numbers for h in measured) / numbers
    t = max((h.t for h in measured if math.isfinite(h.t)), default=math.nan)
    return Checkpoint(_settings(layers[0].settings), numbers, t, damped, zero)


def _of_one_plan(records: list) -> list:
    """The longest runs, with the settings that most of these share."""
    longest = max((record.steps for record in records), default=0)
    candidates = [(record, _shared(record)) for record in records if record.steps == longest]
    commonest = Counter(shared for _, shared in candidates).most_common(1)
    return [record for record, shared in candidates if shared == commonest[0][0]]


def _shared(record: Any) -> frozenset:
    return frozenset((name, value) for name, value in record.settings.items() if name not in VARIED)


def _place(record: Any) -> tuple[float, float | None]:
    """beta1 and the batch size; None for a Trainer, which need not use the batch size it is given."""
    batch = (
        None if record.engine in ("callable", "command") else float(record.settings["batch_size"])
    )
    return float(record.settings["beta1"]), batch


def _nearest(records: list, name: str, value: float) -> list:
    """The records with the value of a setting that is nearest, by log distance (of the horizon)."""
    values = {record.settings[name] for record in records if name in record.settings}
    scale = (lambda x: -math.log(1 - x)) if name == "beta1" else math.log
    nearest = min(values, key=lambda x: abs(scale(x) - scale(value)), default=None)
    return [record for record in records if record.settings.get(name) == nearest]


def _window(
    problem: str,
    place: tuple[float, float | None],
    finals: dict[float, float],
    initial: float,
    good: float,
    runs: int,
) -> Window:
    from betaplane.maps.recommend import good_range  # imported lazily: it takes a while

    betas, best = list(finals), min(finals.values())
    fine = [final - best < good * (initial - best) for final in finals.values()]
    low, high = good_range(fine, betas.index(min(finals, key=lambda b: finals[b])))
    within, beyond = betas[low : high + 1], betas[:low] + betas[high + 1 :]
    return Window(
        problem,
        *place,
        betas[low],
        betas[high],
        _robust(within, beyond, finals),
        runs,
        open_low=low == 0,
        open_high=high + 1 == len(betas),
    )


def _robust(within: list[float], beyond: list[float], finals: dict[float, float]) -> float:
    """The good beta2 farthest from the bad ones in log horizon, then the one of lowest loss.

    Distances above SAFE_DISTANCE_DECADES count as equal.
    """

    def distance(beta2: float) -> float:
        distances = [abs(math.log10((1 - beta2) / (1 - bad))) for bad in beyond]
        return round(min([SAFE_DISTANCE_DECADES, *distances]), 6)

    return min(within, key=lambda beta2: (-distance(beta2), finals[beta2]))


def _settings(stored: Any) -> Settings:
    """The settings of a checkpoint; an lr of 0, as at the end of a schedule, is unknown."""
    return Settings(
        lr=stored.lr or None,
        beta1=stored.beta1,
        beta2=stored.beta2,
        eps=stored.eps,
        weight_decay=stored.weight_decay,
    )
