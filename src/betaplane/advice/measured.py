"""What was measured on your own problem: beta2's window on a map, its threshold in a replay, a checkpoint's state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from betaplane.advice.settings import Settings
from betaplane.errors import BadInput

ENOUGH = 1.0  # decades of memory horizon off any trouble
SECOND = ("exp_avg_sq", "v")  # what the second moment is called in a state


@dataclass(frozen=True)
class Window:
    """The good beta2 of a map at one beta1 and one batch size."""

    problem: str
    beta1: float
    batch: float  # samples a step
    low: float  # smallest good beta2 of the run of good ones around the best
    high: float  # largest one
    best: float  # the one of lowest loss among those a decade of memory horizon inside, or as far inside as there is
    trainings: int  # in the store
    open_low: bool  # no trained beta2 below is worse: the window may reach further down
    open_high: bool


@dataclass(frozen=True)
class Threshold:
    """The beta2 from which on recorded gradients, replayed, give a good mean update; nan where none does."""

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

    Trainings are those at the lr that most of them have, at the batch size and beta1 nearest to the ones asked for. A
    beta2 is good where the median of its losses scores below `good`, 0 being the best of all of them and 1 the
    initial loss, as on a map.

    Args:
        path: the store `betaplane map` wrote.
        batch: samples a step, > 0.
        beta1: in [0, 1).
        good: largest score of a good setting, in (0, 1).

    Returns:
        The run of good beta2 around the best one.

    Raises:
        BadInput: there is no such store, it is none, or it holds no map over beta2.

    Source: trainings of your own.
    """
    from betaplane.maps.store import Store

    with Store.reopen(path) as store:
        problem, records = store.problem, [one for one in store.all() if "beta2" in one.settings]
    rows = _nearest(_nearest(_usual(records, "lr"), "batch_size", batch), "beta1", beta1)
    losses: dict[float, list[float]] = {}
    for one in rows:
        losses.setdefault(float(one.settings["beta2"]), []).append(one.final)
    if len(losses) < 2:
        raise BadInput(
            "The store holds no map over beta2",
            value=len(losses),
            allowed="at least 2 values of it",
            where=str(path),
            instead="betaplane map digits",
        )
    initial = median(one.initial for one in rows)
    at = float(rows[0].settings.get("beta1", beta1)), float(rows[0].settings["batch_size"])
    return _window(problem, at, {b: median(losses[b]) for b in sorted(losses)}, initial, good, len(records))


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
    """What an optimizer's state dict in a file says of its settings and of eps.

    The file is read with `weights_only=True`, so it runs no code. A dict with the state dict under "optimizer",
    "optimizer_state_dict" or "optim" is looked into.

    Args:
        path: what `torch.save(optimizer.state_dict(), path)` wrote.

    Returns:
        Its settings and the sizes of its second moments.

    Raises:
        BadInput: there is no such file, or it holds no state dict of an Adam-type optimizer.

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
    held = _loaded(Path(path))
    for name in ("optimizer", "optimizer_state_dict", "optim"):
        held = held[name] if isinstance(held, Mapping) and name in held else held
    groups = held.get("param_groups") if isinstance(held, Mapping) else None
    seconds = _second_moments(held) if groups else []
    if not groups or not seconds:
        raise _no_checkpoint(path, "The file holds no state of an Adam-type optimizer")
    return _checkpoint(groups[0], seconds)


def _usual(records: list, name: str) -> list:
    """The records with the commonest value of a setting."""
    values = [one.settings.get(name) for one in records]
    return [one for one in records if one.settings.get(name) == max(set(values), key=values.count)]


def _nearest(records: list, name: str, value: float) -> list:
    """The records whose setting is nearest to a value: in log distance, of the horizon for betas."""
    held = {one.settings[name] for one in records if name in one.settings}
    place = (lambda x: -math.log(1 - x)) if name == "beta1" else math.log
    chosen = min(held, key=lambda x: abs(place(x) - place(value)), default=None)
    return [one for one in records if one.settings.get(name) == chosen]


def _window(
    problem: str, at: tuple[float, float], finals: dict[float, float], initial: float, good: float, of: int
) -> Window:
    betas, best = list(finals), min(finals.values())
    fine = [final - best < good * (initial - best) or final == best for final in finals.values()]
    low = high = betas.index(min(finals, key=lambda b: finals[b]))
    while low > 0 and fine[low - 1]:
        low -= 1
    while high + 1 < len(betas) and fine[high + 1]:
        high += 1
    within, beyond = betas[low : high + 1], [*betas[max(low - 1, 0) : low], *betas[high + 1 : high + 2]]
    chosen = _robust(within, beyond, finals)
    return Window(
        problem, *at, betas[low], betas[high], chosen, of, open_low=low == 0, open_high=high + 1 == len(betas)
    )


def _robust(within: list[float], beyond: list[float], finals: dict[float, float]) -> float:
    """The good beta2 farthest in log horizon from those that are not, up to ENOUGH; then the one of lowest loss."""

    def room(beta2: float) -> float:
        away = [abs(math.log10((1 - beta2) / (1 - bad))) for bad in beyond]
        return round(min([ENOUGH, *away]), 6)

    return min(within, key=lambda beta2: (-room(beta2), finals[beta2]))


def _loaded(path: Path) -> Any:
    if not path.is_file():
        raise _no_checkpoint(path, "There is no such checkpoint")
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle with code, a truncated archive, a text file: torch raises a dozen types
        raise _no_checkpoint(path, f"The file is no checkpoint ({type(error).__name__})") from error


def _second_moments(held: Mapping[str, Any]) -> list[tuple[Any, float]]:
    """The second moments, each with its step count."""
    found = []
    for state in held.get("state", {}).values():
        name = next((name for name in SECOND if isinstance(state, Mapping) and name in state), None)
        if name and hasattr(state[name], "numel"):
            found.append((state[name], float(state.get("step", 0))))
    return found


def _checkpoint(group: Mapping[str, Any], seconds: list[tuple[Any, float]]) -> Checkpoint:
    beta1, beta2 = group.get("betas", (None, None))
    eps = float(group.get("eps", 1e-8))
    settings = Settings(
        lr=float(group["lr"]) or None, beta1=beta1, beta2=beta2, eps=eps, weight_decay=group.get("weight_decay")
    )
    numbers = damped = zero = 0
    for v, t in seconds:
        corrected = v.float() / (1 - (beta2 or 0.999) ** t if t > 0 else 1.0)
        numbers += v.numel()
        damped += int((corrected.sqrt() < eps).sum())
        zero += int((v == 0).sum())
    return Checkpoint(settings, numbers, max(t for _, t in seconds), damped / numbers, zero / numbers)


def _no_checkpoint(path: str | Path, what: str) -> BadInput:
    return BadInput(
        what,
        value=str(path),
        allowed="a state dict of Adam, AdamW or a relative",
        where="--checkpoint",
        instead="torch.save(optimizer.state_dict(), 'opt.pt')",
    )
