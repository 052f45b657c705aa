"""An inspected checkpoint as lines of text: layers, reasons, horizons, eps, memory, new betas."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from betaplane.text import plural, printable

if TYPE_CHECKING:
    from betaplane.checkpoints.findings import Suspicion
    from betaplane.checkpoints.health import Health
    from betaplane.checkpoints.inspect import Horizons, Inspection
    from betaplane.checkpoints.new_betas import Planned

MAX_NAME_CHARACTERS = 36
EPS_TOLERANCE = 1.001  # an eps within this factor of the advised one is small enough
UPDATE_TOLERANCE = 0.01  # updates within 1% of the right size need no rescaled state
HEADINGS = (
    "layer",
    "step",
    "RMS m",
    "sqrt(v_hat)",
    "max",
    "bound",
    "< eps",
    "v = 0",
    "spread",
    "update",
    "kept",
    "bytes",
)


def lines(inspection: Inspection, top: int) -> list[str]:
    """All lines of the report.

    Args:
        inspection: of the checkpoint.
        top: number of layers to list.
    """
    rows = inspection.rows[:top]
    count, hidden = len(inspection.rows), len(inspection.rows) - len(rows)
    layers = f"{plural(count, 'layer')}, {inspection.numbers:,} parameters"
    marked = [
        ["!" if row.severe else "", _short(row.health.name), *_cells(row.health)] for row in rows
    ]
    text = [f"{inspection.path}: {inspection.kind}, {layers}"]
    text += _aligned([["", *HEADINGS], *marked])
    if hidden:
        text.append(f"and {plural(hidden, 'more layer')}: --top {count}")
    text += [_reason(name, reason) for name, reason in inspection.findings]
    text += [_reason(row.health.name, reason) for row in rows for reason in row.reasons]
    text += [*_not_judged(inspection), *inspection.notes, "", *_summary(inspection)]
    return text + [line for planned in inspection.planned for line in _new_betas(planned)]


def _reason(name: str, reason: Suspicion) -> str:
    return f"{'!' if reason.severe else ' '} {name}: {reason.what}"


def _not_judged(inspection: Inspection) -> list[str]:
    """A sentence on checks that could not run on some layers."""
    layers = [row.health.name for row in inspection.rows if math.isnan(row.health.bound)]
    if not layers or inspection.is_fresh:
        return []
    what = "the bound, stale v, and counts that do not belong to their moments"
    if len(layers) == len(inspection.rows):
        return [f"Not judged in any layer: {what}. They need Adam's state, its betas and steps."]
    return [f"Not judged in {plural(len(layers), 'layer')} ({_short(layers[0])}, ...): {what}."]


def _short(name: str) -> str:
    name = printable(name)
    if len(name) <= MAX_NAME_CHARACTERS:
        return name
    return f"...{name[3 - MAX_NAME_CHARACTERS :]}"


def _aligned(rows: list[list[str]]) -> list[str]:
    """Columns of text: the first two to the left, numbers to the right.

    Example:
        >>> _aligned([["", "layer", "step"], ["!", "x", "10"]])
        ['  layer  step', '! x        10']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = ["<", "<", *[">"] * (len(widths) - 2)]
    texts = [
        [f"{x:{side}{w}}" for x, side, w in zip(row, sides, widths, strict=True)] for row in rows
    ]
    return [f"{text[0]:1} " + "  ".join(text[1:]).rstrip() for text in texts]


def _cells(health: Health) -> list[str]:
    h = health
    return [
        *(_number(value) for value in (h.t, h.m_rms, h.root_v, h.ratio, h.bound)),
        _percent(h.damped),
        _percent(h.zero),
        _number(h.spread),
        _number(h.update),
        h.dtype,
        f"{h.bytes:,}",
    ]


def _number(value: float) -> str:
    """A dash for NaN; integers without a fraction; other numbers with three digits."""
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if value % 1 == 0 and abs(value) < 1e9 else f"{value:.3g}"


def _percent(fraction: float) -> str:
    if math.isnan(fraction):
        return "-"
    return "0" if fraction == 0 else f"{100 * fraction:.3g}%"


def _summary(inspection: Inspection) -> list[str]:
    """Horizons, eps and memory."""
    text = [_horizons(horizons) for horizons in inspection.horizons] or [
        "The file does not contain the betas: pass them as --trained-with 0.9,0.999."
    ]
    if inspection.eps is not None and not math.isnan(inspection.eps_advised):
        text.append(_eps(inspection, inspection.eps))
    return [*text, _memory(inspection)]


def _horizons(h: Horizons) -> str:
    step = f"at step {h.t:g} sqrt(v) is divided by {_number(h.correction)}"
    snr = f"; signal-to-noise ratio of the gradients about {h.snr:.2g}"
    return (
        f"betas {h.betas[0]:g}, {h.betas[1]:g}: m averages over {h.memory[0]:.4g} steps "
        f"(half-life {h.half_life[0]:.3g}), v over {h.memory[1]:.4g} ({h.half_life[1]:.3g}); "
        f"{'the step is unknown' if math.isnan(h.t) else step}{'' if math.isnan(h.snr) else snr}"
    )


def _eps(inspection: Inspection, eps: float) -> str:
    advice = "small enough"
    if eps > inspection.eps_advised * EPS_TOLERANCE:
        advice = (
            f"{inspection.eps_advised:.0e} would leave 99% of those with v > 0 their update; it "
            "also gives full steps to gradients that small"
        )
    share = _percent(inspection.damped)
    return f"eps {eps:g}: sqrt(v_hat) is below it in {share} of the coordinates; {advice}"


def _memory(inspection: Inspection) -> str:
    formats = ", ".join(f"{form} {size:,}" for form, size in inspection.formats.items() if form)
    count = inspection.numbers
    mean = _number(inspection.bytes / count if count else math.nan)
    return (
        f"memory: {inspection.bytes:,} bytes ({formats}), {mean} per parameter; "
        "float32 takes 8, 8bit 2.03"
    )


def _new_betas(p: Planned) -> list[str]:
    """The effect of new betas on the next updates."""
    text = [
        f"with betas {p.betas[0]:g}, {p.betas[1]:g} from step {p.t:g} on: at the next step v_hat "
        f"is {p.v_at_once:.3g} and m_hat {p.m_at_once:.3g} times the right value, updates "
        f"{p.update_at_once:.3g} times",
        f"  largest error: {p.update_most:.3g} times; within 1% after {plural(p.steps, 'step')}; "
        f"v has forgotten 99% after {p.forget_v:.0f}, m after {p.forget_m:.0f}",
    ]
    if abs(p.update_most - 1) > UPDATE_TOLERANCE:
        text.append(
            f"  to correct it at once: multiply exp_avg by {p.scale_m:.4g} and exp_avg_sq by "
            f"{p.scale_v:.4g}"
        )
    if math.isinf(p.bound):
        text.append(
            "  beta1 >= sqrt(beta2): updates have no bound, and can grow by a factor "
            f"{p.growth:.3g} per step"
        )
    else:
        text.append(f"  the largest possible update is then {p.bound:.3g} lr")
    return text
