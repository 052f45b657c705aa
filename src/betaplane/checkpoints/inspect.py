"""Inspect an optimizer checkpoint: suspicious layers, memory horizons, eps, bytes, effect of new
betas.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from betaplane.checkpoints.checkpoint import Checkpoint, read_checkpoint
from betaplane.checkpoints.findings import Context, Suspicion, suspicions
from betaplane.checkpoints.health import DECADES, Health, health
from betaplane.checkpoints.layer import Layer
from betaplane.checkpoints.new_betas import Planned, planned
from betaplane.checkpoints.pooled import pooled_suspicions
from betaplane.errors import BadInput
from betaplane.text import json_safe
from betaplane.theory import (
    half_life,
    memory_horizon,
    snr_from_update_rms,
    state_bytes,
    update_bound,
)

SETTLED_HORIZONS = 3  # of m, after which the update size shows the signal-to-noise ratio
# An advised eps leaves this share of elements with at least this share of their update.
UNDAMPED_SHARE = 0.99


@dataclass(frozen=True)
class LayerRow:
    """The health of one layer, and the reasons to suspect it."""

    health: Health
    reasons: tuple[Suspicion, ...]

    @property
    def severe(self) -> bool:
        """Whether one of the reasons is severe."""
        return any(reason.severe for reason in self.reasons)


class Finding(NamedTuple):
    """A reason to suspect more than one layer."""

    name: str  # the optimizer's place in the file, "all layers" or "model"
    reason: Suspicion


@dataclass(frozen=True)
class Horizons:
    """Memory of the moments of some layers, in steps."""

    betas: tuple[float, float]
    t: float  # steps taken; nan if the file does not count them
    memory: tuple[float, float]  # 1 / (1 - beta) of m and of v
    half_life: tuple[float, float]
    correction: float  # divisor of sqrt(v) at this step: bias correction
    # signal-to-noise ratio of the gradients, from the update size; nan in early steps
    snr: float


@dataclass(frozen=True)
class Inspection:
    """The result of `inspect`."""

    path: str
    kind: str
    rows: tuple[LayerRow, ...]  # suspicious first
    horizons: tuple[Horizons, ...]
    eps: float | None  # of the first layer that has one
    damped: float  # share of all elements with sqrt(v_hat) < eps
    # the largest power of ten with which 99% of the elements with v > 0 keep 99% of their update
    eps_advised: float
    bytes: int
    numbers: int  # elements
    formats: dict[str, int]  # bytes by storage format
    planned: tuple[Planned, ...]
    notes: tuple[str, ...] = ()  # sentences about information that the file lacks
    findings: tuple[Finding, ...] = ()  # reasons to suspect whole optimizers or the model

    @property
    def severe(self) -> bool:
        """Whether a reason to suspect a layer, an optimizer or the model is severe."""
        return any(finding.reason.severe for finding in self.findings) or bool(self.suspicious)

    @property
    def is_fresh(self) -> bool:
        """Whether no layer has taken a step."""
        return all(row.health.t == 0 for row in self.rows)

    @property
    def suspicious(self) -> tuple[LayerRow, ...]:
        """The rows with a severe reason."""
        return tuple(row for row in self.rows if row.severe)

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON: numbers that are not finite are None."""
        formats = ("float32", "bfloat16", "8bit")
        report = asdict(self)
        report["suspicious"] = [row.health.name for row in self.suspicious]
        report["bytes_as"] = {name: bytes_as(self.numbers, name) for name in formats}
        return json_safe(report)


def inspect(
    path: str | Path,
    betas: tuple[float, float] | None = None,
    trained: tuple[float, float] | None = None,
    eps: float | None = None,
) -> Inspection:
    """Measure every layer of a checkpoint.

    Args:
        path: a file or folder, see `read_checkpoint`.
        betas: new betas to continue with, each in [0, 1); their effect is then predicted.
        trained: the betas of the training; used if the file lacks them.
        eps: the eps of the training, >= 0, gradient units; used if the file lacks it.

    Returns:
        Its layers, suspicious ones first, and their totals.

    Raises:
        BadInput: the file cannot be read, or betas or eps are out of range.

    Example:
        >>> import tempfile, torch
        >>> x = torch.nn.Parameter(torch.ones(3, 1))
        >>> optimizer = torch.optim.AdamW([("x", x)])
        >>> for g in (1.0, 1e-12, 1e-12):
        ...     x.grad = torch.tensor([[g], [1e-9], [1e-10]])
        ...     optimizer.step()
        >>> with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        ...     torch.save(optimizer.state_dict(), file.name)
        ...     found = inspect(file.name, betas=(0.9, 0.95))
        >>> print(found.rows[0].reasons[0].what)
        sqrt(v_hat) < eps = 1e-08 in 67% of it: there Adam is SGD with lr / eps
        >>> found.eps_advised, found.bytes, round(found.planned[0].update_at_once, 3)
        (1e-12, 28, 1.874)
    """
    _check(betas, trained, eps)
    checkpoint = read_checkpoint(path, trained, eps)
    measured = [health(layer) for layer in checkpoint.layers]
    others = Context(_latest_step(measured), _pooled_root(measured))
    pairs = zip(checkpoint.layers, measured, strict=True)
    rows = [LayerRow(h, tuple(suspicions(layer, h, others))) for layer, h in pairs]
    rows.sort(key=lambda row: (not row.severe, not row.reasons))
    return _inspection(checkpoint, measured, rows, betas)


def _latest_step(measured: list[Health]) -> float:
    """The largest step count; nan if there is none."""
    return max((h.t for h in measured if math.isfinite(h.t)), default=math.nan)


def _pooled_root(measured: list[Health]) -> float:
    """The root of the mean of v_hat over all elements; nan if it is unknown for every layer."""
    known = [h for h in measured if math.isfinite(h.root_v)]
    elements = sum(h.numbers for h in known)
    return (
        math.sqrt(sum(h.root_v**2 * h.numbers for h in known) / elements) if elements else math.nan
    )


def _findings(checkpoint: Checkpoint, measured: list[Health]) -> Iterator[Finding]:
    """The reasons to suspect each optimizer, and the model."""
    optimizers: dict[str, list[tuple[Layer, Health]]] = {}
    for layer, h in zip(checkpoint.layers, measured, strict=True):
        optimizers.setdefault(layer.optimizer, []).append((layer, h))
    for name, pairs in optimizers.items():
        for reason in pooled_suspicions(*zip(*pairs, strict=True)):
            yield Finding(name if len(optimizers) > 1 else "all layers", reason)
    yield from (Finding("model", Suspicion(True, *problem)) for problem in checkpoint.problems)


def _check(
    betas: tuple[float, float] | None, trained: tuple[float, float] | None, eps: float | None
) -> None:
    for pair in (betas, trained):
        if pair is not None:
            update_bound(*pair)
    if eps is not None and not 0 <= eps < math.inf:
        raise BadInput(
            "eps is out of range",
            value=eps,
            allowed="[0, inf)",
            where="inspect",
            instead="eps=1e-8",
        )


def _inspection(
    checkpoint: Checkpoint,
    measured: list[Health],
    rows: list[LayerRow],
    betas: tuple[float, float] | None,
) -> Inspection:
    groups = _by_betas(checkpoint.layers, measured)
    formats = Counter[str]()
    for h in measured:
        formats[h.dtype] += h.bytes
    changes = []
    if betas is not None:
        changes = [planned(pair, betas, t) for pair, t in groups if t >= 1]
    return Inspection(
        path=checkpoint.path,
        kind=checkpoint.kind,
        rows=tuple(rows),
        horizons=tuple(_horizons(pair, t, group) for (pair, t), group in groups.items()),
        eps=_first_eps(checkpoint.layers),
        damped=_damped_share(measured),
        eps_advised=_advised_eps(measured),
        bytes=sum(h.bytes for h in measured),
        numbers=sum(h.numbers for h in measured),
        formats=dict(formats),
        planned=tuple(changes),
        notes=checkpoint.notes,
        findings=tuple(_findings(checkpoint, measured)),
    )


def _first_eps(layers: tuple[Layer, ...]) -> float | None:
    eps = (layer.settings.eps for layer in layers)
    return next((value for value in eps if value is not None), None)


def _damped_share(measured: list[Health]) -> float:
    """The share of all elements with sqrt(v_hat) < eps; nan if it is unknown for every layer."""
    known = [h for h in measured if math.isfinite(h.damped)]
    elements = sum(h.numbers for h in known)
    return sum(h.damped * h.numbers for h in known) / elements if elements else math.nan


def _by_betas(
    layers: tuple[Layer, ...], measured: list[Health]
) -> dict[tuple[tuple[float, float], float], list[Health]]:
    """The layers of each pair of betas, by that pair and the largest step among them."""
    groups: dict[tuple[float, float], list[Health]] = {}
    for layer, h in zip(layers, measured, strict=True):
        s = layer.settings
        if s.beta1 is not None and s.beta2 is not None:
            groups.setdefault((s.beta1, s.beta2), []).append(h)
    return {(pair, _latest_step(group)): group for pair, group in groups.items()}


def _horizons(betas: tuple[float, float], t: float, group: list[Health]) -> Horizons:
    beta1, beta2 = betas
    rms = _update_rms(group)
    is_settled = rms < 1 and t > SETTLED_HORIZONS / (1 - beta1)
    return Horizons(
        betas=betas,
        t=t,
        memory=(memory_horizon(beta1), memory_horizon(beta2)),
        half_life=(half_life(beta1), half_life(beta2)),
        correction=math.sqrt(1 - beta2**t) if t >= 1 else math.nan,
        snr=snr_from_update_rms(rms, beta1) if is_settled else math.nan,
    )


def _update_rms(group: list[Health]) -> float:
    """The root mean square of the update over the elements of some layers; nan if unknown."""
    known = [h for h in group if math.isfinite(h.update)]
    elements = sum(h.numbers for h in known)
    if not elements:
        return math.nan
    return math.sqrt(sum(h.update**2 * h.numbers for h in known) / elements)


def _advised_eps(measured: list[Health]) -> float:
    """The largest eps without relevant damping, from the histograms; nan without any v > 0."""
    low, high, bins = DECADES
    histograms = [(h.shares, h.numbers * (1 - h.zero)) for h in measured if h.shares]
    total = sum(elements for _, elements in histograms)
    below = 0.0
    for i in range(bins):
        below += sum(shares[i] * elements for shares, elements in histograms)
        if total and below > (1 - UNDAMPED_SHARE) * total:
            edge = low + (high - low) * i / bins  # the remaining elements are larger
            return 10.0 ** math.floor(edge + math.log10(1 / UNDAMPED_SHARE - 1))
    return math.nan


def bytes_as(numbers: int, form: str) -> float:
    """Bytes of Adam's two moments of `numbers` elements in a storage format."""
    return numbers * state_bytes(2, form)
