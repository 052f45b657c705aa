"""What was measured on your own problem: beta2's window on a map, its threshold in a replay, a
checkpoint's state.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from betaplane.advice.settings import Settings
from betaplane.errors import BadInput

ENOUGH = 1.0  # decades of memory horizon off any trouble
RULES = ("Adam", "AdamW")  # the rules, as stores name them, that the advice is for
VARIED = {"beta1", "beta2", "batch_size"}  # what trainings of one window may differ in


@dataclass(frozen=True)
class Window:
    """The good beta2 of a map at one beta1 and one batch size."""

    problem: str
    beta1: float
    batch: float | None  # samples a step; None where a Trainer keeps its own
    low: float  # smallest good beta2 of the run of good ones around the best
    high: float  # largest one
    # the one of lowest loss among those a decade of memory horizon inside, or as far inside as
    # there is
    best: float
    trainings: int  # that it rests on
    open_low: bool  # no trained beta2 below is worse: the window may reach further down
    open_high: bool


@dataclass(frozen=True)
class Threshold:
    """The beta2 from which on recorded gradients, replayed, give a good mean update; nan where none
    does.
    """

    beta2: float  # 0 where every one does
    beta1: float
    rows: int  # minibatches it rests on
    changed: str  # "" at the recorded batch size, else how the batches were changed


@dataclass(frozen=True)
class Checkpoint:
    """What the optimizer state in a file says."""

    settings: Settings  # of its first param group
    numbers: int  # numbers in the second moments
    steps: float  # the largest step count
    damped: float  # share of them with sqrt(v_hat) < eps
    zero: float  # share of them that are exactly 0


def window(path: str | Path, batch: float, beta1: float = 0.9, good: float = 0.05) -> Window:
    """The window of beta2 that the trainings in a map's store show.

    Trainings are the longest ones of Adam or AdamW, with the lr and other settings that most of those have, at the
    batch size and beta1 nearest to the ones asked for. A beta2 is good where the median of its losses scores below
    `good`, 0 being the best of all of them and 1 the initial loss, as on a map.

    Args:
        path: the store `betaplane map` wrote.
        batch: samples a step, > 0.
        beta1: in [0, 1).
        good: largest score of a good setting, in (0, 1).

    Returns:
        The run of good beta2 around the best one.

    Raises:
        BadInput: there is no such store, it is none, it holds no map over beta2, or nothing on it trains.

    Source: trainings of your own.
    """
    from betaplane.maps.store.store import Store

    with Store.reopen(path) as store:
        problem, records = (
            store.problem,
            [one for one in store.all() if one.settings.get("rule") in RULES],
        )
    rows = _nearest(_nearest(_of_one_plan(records), "batch_size", batch), "beta1", beta1)
    losses: dict[float, list[float]] = {}
    for one in rows:
        losses.setdefault(float(one.settings["beta2"]), []).append(one.final)
    if len(losses) < 2:
        raise BadInput(
            "The store holds no map over beta2",
            value=len(losses),
            allowed=f"at least 2 values of it, trained by {' or '.join(RULES)}",
            where=str(path),
            instead="betaplane map digits",
        )
    initial, finals = (
        median(one.initial for one in rows),
        {b: median(losses[b]) for b in sorted(losses)},
    )
    at = _place(rows[0])
    if not min(finals.values()) < initial:
        lr = rows[0].settings["lr"]
        raise BadInput(
            "Nothing on the map trains well",
            value=min(finals.values()),
            allowed=f"a final loss below the initial {initial:.4g} at beta1 = {at[0]:g}, lr = {lr:g}",
            where=str(path),
            instead=f"betaplane map {problem} --lr {lr / 10:g}",
        )
    return _window(problem, at, finals, initial, good, len(rows))


def threshold(path: str | Path, batch: float, beta1: float = 0.9) -> Threshold:
    """The beta2 that recorded gradients ask for, predicted without training.

    Args:
        path: what `betaplane record` or `record_gradients` wrote.
        batch: samples a step, the recorded ones, fewer, or a multiple.
        beta1: in [0, 1).

    Returns:
        The threshold at that beta1 and batch size.

    Raises:
        BadInput: the file is missing or none of ours, or this batch size cannot be had from it.

    Source: gradients of your own; `betaplane.replay.thresholds`.
    """
    from betaplane.replay import load, replay_gradients, thresholds, with_batch_size

    stream = load(path)
    stream = stream if stream.batch_size == batch else with_batch_size(stream, round(batch))
    found = float(thresholds(replay_gradients(stream, [beta1]))[0])
    return Threshold(found, beta1, stream.steps, stream.changed)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """What the optimizer's state in a file or folder says of its settings and of eps.

    Everything `betaplane inspect` reads is understood, betaplane's 8-bit states too; nothing in the
    file is run.

    Args:
        path: what `torch.save(optimizer.state_dict(), path)` wrote, or another checkpoint with Adam's moments.

    Returns:
        Its settings and the sizes of its second moments.

    Raises:
        BadInput: there is no such file, or it holds no state of an Adam-type optimizer.

    Source: state of your own.

    Example:
        >>> import tempfile, torch
        >>> x = torch.nn.Parameter(torch.ones(4))
        >>> optimizer = torch.optim.AdamW([x], lr=1e-3, eps=1e-6)
        >>> x.grad = torch.tensor([1.0, 1e-3, 1e-9, 0.0])
        >>> optimizer.step()
        >>> with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        ...     torch.save(optimizer.state_dict(), file.name)
        ...     found = read_checkpoint(file.name)
        >>> found.settings.eps, found.damped, found.zero
        (1e-06, 0.5, 0.25)
    """
    from betaplane.checkpoints import read_checkpoint as read  # here, for torch comes with it
    from betaplane.checkpoints.health import health

    try:
        layers = [layer for layer in read(path, eps=1e-8).layers if layer.v is not None]
    except BadInput as error:
        told = {"value": error.value, "allowed": error.allowed, "instead": error.instead}
        raise BadInput(error.what, **told, where="--checkpoint") from error
    if not layers:
        raise BadInput(
            "The file holds no second moments that can be read",
            value=str(path),
            where="--checkpoint",
        )
    measured = [health(layer) for layer in layers]
    numbers = sum(one.numbers for one in measured)
    damped, zero = (
        sum(getattr(one, name) * one.numbers for one in measured) / numbers
        for name in ("damped", "zero")
    )
    t = max((one.t for one in measured if math.isfinite(one.t)), default=math.nan)
    return Checkpoint(_settings(layers[0].settings), numbers, t, damped, zero)


def _of_one_plan(records: list) -> list:
    """The longest trainings, with the settings that most of those share."""
    longest = max((one.steps for one in records), default=0)
    shared = [(one, _shared(one)) for one in records if one.steps == longest]
    usual = Counter(held for _, held in shared).most_common(1)
    return [one for one, held in shared if held == usual[0][0]]


def _shared(record: Any) -> frozenset:
    return frozenset((name, value) for name, value in record.settings.items() if name not in VARIED)


def _place(record: Any) -> tuple[float, float | None]:
    """beta1 and the batch size; what a Trainer is told as one need not be what it trains with."""
    batch = None if record.engine == "callable" else float(record.settings["batch_size"])
    return float(record.settings["beta1"]), batch


def _nearest(records: list, name: str, value: float) -> list:
    """The records whose setting is nearest to a value: in log distance, of the horizon for betas."""
    held = {one.settings[name] for one in records if name in one.settings}
    place = (lambda x: -math.log(1 - x)) if name == "beta1" else math.log
    chosen = min(held, key=lambda x: abs(place(x) - place(value)), default=None)
    return [one for one in records if one.settings.get(name) == chosen]


def _window(
    problem: str,
    at: tuple[float, float | None],
    finals: dict[float, float],
    initial: float,
    good: float,
    of: int,
) -> Window:
    betas, best = list(finals), min(finals.values())
    fine = [final - best < good * (initial - best) for final in finals.values()]
    low = high = betas.index(min(finals, key=lambda b: finals[b]))
    while low > 0 and fine[low - 1]:
        low -= 1
    while high + 1 < len(betas) and fine[high + 1]:
        high += 1
    within, beyond = (
        betas[low : high + 1],
        [*betas[max(low - 1, 0) : low], *betas[high + 1 : high + 2]],
    )
    chosen = _robust(within, beyond, finals)
    return Window(
        problem,
        *at,
        betas[low],
        betas[high],
        chosen,
        of,
        open_low=low == 0,
        open_high=high + 1 == len(betas),
    )


def _robust(within: list[float], beyond: list[float], finals: dict[float, float]) -> float:
    """The good beta2 farthest in log horizon from those that are not, up to ENOUGH; then the one of
    lowest loss.
    """

    def room(beta2: float) -> float:
        away = [abs(math.log10((1 - beta2) / (1 - bad))) for bad in beyond]
        return round(min([ENOUGH, *away]), 6)

    return min(within, key=lambda beta2: (-room(beta2), finals[beta2]))


def _settings(said: Any) -> Settings:
    """A checkpoint's settings; an lr of 0, at the end of its schedule, says nothing."""
    lr = said.lr or None
    return Settings(
        lr=lr, beta1=said.beta1, beta2=said.beta2, eps=said.eps, weight_decay=said.weight_decay
    )
