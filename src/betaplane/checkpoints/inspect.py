"""The health of an optimizer checkpoint: its layers with reasons, horizons, eps, memory, what new
betas would do.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from betaplane.checkpoints.checkpoint import Checkpoint, read_checkpoint
from betaplane.checkpoints.findings import Suspicion, suspicions
from betaplane.checkpoints.health import DECADES, Health, health
from betaplane.checkpoints.layer import Layer
from betaplane.checkpoints.new_betas import Planned, planned
from betaplane.errors import BadInput
from betaplane.text import json_safe
from betaplane.theory import (
    half_life,
    memory_horizon,
    snr_from_update_rms,
    state_bytes,
    update_bound,
)

SETTLED = 3  # memory horizons of m after which the size of updates tells of the gradients
# share of coordinates that an advised eps leaves alone, and of its update that each keeps
KEPT = 0.99


@dataclass(frozen=True)
class LayerRow:
    """One layer."""

    health: Health
    reasons: tuple[Suspicion, ...]

    @property
    def severe(self) -> bool:
        """Whether one of the reasons is."""
        return any(one.severe for one in self.reasons)


@dataclass(frozen=True)
class Horizons:
    """How far back the moments of some layers look, in steps."""

    betas: tuple[float, float]
    t: float  # steps taken; nan if the file does not count them
    memory: tuple[float, float]  # 1 / (1 - beta) of m and of v
    half_life: tuple[float, float]
    correction: float  # what sqrt(v) is divided by at this step
    # signal-to-noise ratio of the gradients that the size of updates shows; nan in early steps
    snr: float


@dataclass(frozen=True)
class Inspection:
    """What a checkpoint shows."""

    path: str
    kind: str
    rows: tuple[LayerRow, ...]  # suspicious first
    horizons: tuple[Horizons, ...]
    eps: float | None  # of the first layer that has one
    damped: float  # share of all coordinates with sqrt(v_hat) < eps
    # the largest power of ten with which 99 % of those with v > 0 keep 99 % of their update
    eps_advised: float
    bytes: int
    numbers: int
    formats: dict[str, int]  # bytes by format
    planned: tuple[Planned, ...]
    notes: tuple[str, ...] = ()  # sentences on what the file leaves unknown

    @property
    def suspicious(self) -> tuple[LayerRow, ...]:
        """The rows with a severe reason."""
        return tuple(row for row in self.rows if row.severe)

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON: numbers that are not finite are None."""
        told = asdict(self)
        told["suspicious"] = [row.health.name for row in self.suspicious]
        told["bytes_as"] = {
            name: bytes_as(self.numbers, name) for name in ("float32", "bfloat16", "8bit")
        }
        return json_safe(told)


def inspect(
    path: str | Path,
    betas: tuple[float, float] | None = None,
    trained: tuple[float, float] | None = None,
    eps: float | None = None,
) -> Inspection:
    """Measure every layer of a checkpoint.

    Args:
        path: a file or folder, see `read_checkpoint`.
        betas: those it is to go on with, each in [0, 1); what that does is then told.
        trained: those it was trained with, where the file does not say.
        eps: the same, >= 0, gradient units.

    Returns:
        Its layers, suspicious ones first, and what they say together.

    Raises:
        BadInput: the file cannot be read, or betas or eps are out of range.

    Example:
        >>> import tempfile, torch
        >>> x = torch.nn.Parameter(torch.ones(3))
        >>> optimizer = torch.optim.AdamW([("x", x)])
        >>> for g in (1.0, 1e-12, 1e-12):
        ...     x.grad = torch.tensor([g, 1e-9, 1e-10])
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
    found = read_checkpoint(path, trained, eps)
    measured = [health(layer) for layer in found.layers]
    latest = max((one.t for one in measured if math.isfinite(one.t)), default=math.nan)
    pairs = zip(found.layers, measured, strict=True)
    rows = [LayerRow(one, tuple(suspicions(layer, one, latest))) for layer, one in pairs]
    rows.sort(key=lambda row: (not row.severe, not row.reasons))
    return _together(found, measured, rows, betas)


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


def _together(
    found: Checkpoint,
    measured: list[Health],
    rows: list[LayerRow],
    betas: tuple[float, float] | None,
):
    known = [one for one in measured if math.isfinite(one.damped)]
    count = sum(one.numbers for one in known)
    settings = _settings(found.layers, measured)
    formats = Counter[str]()
    for one in measured:
        formats[one.dtype] += one.bytes
    return Inspection(
        path=found.path,
        kind=found.kind,
        rows=tuple(rows),
        horizons=tuple(_horizons(pair, t, share) for (pair, t), share in settings.items()),
        eps=next(
            (layer.settings.eps for layer in found.layers if layer.settings.eps is not None), None
        ),
        damped=sum(one.damped * one.numbers for one in known) / count if count else math.nan,
        eps_advised=_eps(measured),
        bytes=sum(one.bytes for one in measured),
        numbers=sum(one.numbers for one in measured),
        formats=dict(formats),
        planned=tuple(planned(pair, betas, t) for pair, t in settings if t >= 1) if betas else (),
        notes=found.notes,
    )


def _settings(
    layers: tuple[Layer, ...], measured: list[Health]
) -> dict[tuple[tuple[float, float], float], list[Health]]:
    """The layers of each pair of betas, with the largest step among them."""
    found: dict[tuple[float, float], list[Health]] = {}
    for layer, one in zip(layers, measured, strict=True):
        s = layer.settings
        if s.beta1 is not None and s.beta2 is not None:
            found.setdefault((s.beta1, s.beta2), []).append(one)
    latest = {
        pair: max((one.t for one in of if math.isfinite(one.t)), default=math.nan)
        for pair, of in found.items()
    }
    return {(pair, latest[pair]): of for pair, of in found.items()}


def _horizons(betas: tuple[float, float], t: float, of: list[Health]) -> Horizons:
    sized = [one for one in of if math.isfinite(one.update)]
    numbers = sum(one.numbers for one in sized)
    rms = (
        math.sqrt(sum(one.update**2 * one.numbers for one in sized) / numbers)
        if numbers
        else math.nan
    )
    return Horizons(
        betas, t, (memory_horizon(betas[0]), memory_horizon(betas[1])), (half_life(betas[0]), half_life(betas[1])),
        math.sqrt(1 - betas[1] ** t) if t >= 1 else math.nan,
        snr_from_update_rms(rms, betas[0]) if rms < 1 and t > SETTLED / (1 - betas[0]) else math.nan,
    )  # fmt: skip


def _eps(measured: list[Health]) -> float:
    """The eps below which damping stops to matter, from the histograms; nan without any v > 0."""
    low, high, cells = DECADES
    alive = [(one.shares, one.numbers * (1 - one.zero)) for one in measured if one.shares]
    total, below = sum(number for _, number in alive), 0.0
    for cell in range(cells):
        below += sum(shares[cell] * number for shares, number in alive)
        if total and below > (1 - KEPT) * total:
            edge = low + (high - low) * cell / cells  # everything from here on is larger
            return 10.0 ** math.floor(edge + math.log10(1 / KEPT - 1))
    return math.nan


def bytes_as(numbers: int, form: str) -> float:
    """Bytes of Adam's two moments of so many numbers in a format."""
    return numbers * state_bytes(2, form)
