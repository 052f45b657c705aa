"""`betaplane inspect`: the health of an optimizer checkpoint on disk."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from betaplane.cli.parse import betas
from betaplane.errors import BadInput
from betaplane.text import printable

if TYPE_CHECKING:
    from betaplane.checkpoints.inspect import Inspection
    from betaplane.checkpoints.new_betas import Planned

Opt = typer.Option
PNG = "--png moments.png"
LONG = 36  # letters of a layer's name
COLUMNS = (
    "layer", "step", "RMS m", "sqrt(v_hat)", "max", "bound", "< eps", "v = 0", "spread", "update", "kept", "bytes",
)  # fmt: skip


def inspect_command(
    file: Annotated[
        Path, typer.Argument(help="A state dict, .ckpt, safetensors, or a folder of shards.")
    ],
    betas_: Annotated[
        Optional[str], Opt("--betas", help="The betas it is to go on with: 0.9,0.95.")
    ] = None,
    trained: Annotated[
        Optional[str],
        Opt("--trained-with", help="The betas it was trained with, where the file does not say."),
    ] = None,
    eps: Annotated[Optional[float], Opt(help="Its eps, where the file does not say.")] = None,
    top: Annotated[int, Opt(min=1, help="Layers to list, suspicious ones first.")] = 10,
    png: Annotated[
        Optional[Path],
        Opt(help="Draw sqrt(v_hat) of every layer listed against eps into this file."),
    ] = None,
    as_json: Annotated[
        bool, Opt("--json", help="Print every layer as JSON, nothing else.")
    ] = False,
) -> None:
    """Tell what an optimizer's state on disk says of the run, suspicious layers first; nothing in
    the file is run.

    It reads torch.optim's state dicts, alone or in a larger checkpoint (Hugging Face, Lightning), folders of
    torch.distributed.checkpoint, DeepSpeed's ZeRO shards and safetensors. A line with ! is a layer whose numbers no
    healthy run gives.

    Columns: sqrt(v_hat) is the root of the mean; max is the largest |m_hat| / sqrt(v_hat), and bound the largest that
    any gradients can give at that step; < eps and v = 0 are shares of the coordinates; spread is the standard
    deviation of sqrt(v) over its mean; update is the RMS of the next update in units of lr. max, bound and update are
    Adam's: a rule that divides otherwise has - there.

    Examples:
      betaplane inspect optimizer.pt

      betaplane inspect checkpoint-5000 --betas 0.9,0.95 --png moments.png
    """
    new, old = _pair(betas_, "--betas"), _pair(trained, "--trained-with")
    from betaplane.checkpoints import inspect
    from betaplane.cli.files import check_apart

    if png is not None:
        check_apart(png, [file, *file.rglob("*")], PNG)
    found = inspect(file, new, old, eps)
    if png is not None:
        _draw(found, png, top)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2, allow_nan=False))
    else:
        _show(found, top)


def _pair(text: str | None, option: str) -> tuple[float, float] | None:
    found = betas(text, option)
    return None if found is None else (found["beta1"], found["beta2"])


def _draw(found: Inspection, path: Path, top: int) -> None:
    from betaplane.checkpoints.health import DECADES
    from betaplane.cli.files import make_folder, write_whole
    from betaplane.figures.moments import moments_png

    rows = [
        (printable(row.health.name), row.severe, row.health.shares)
        for row in found.rows
        if row.health.shares
    ][:top]
    if not rows:
        raise BadInput(
            "No v is above 0, or its correction is unknown, so there is nothing to draw",
            value=found.path,
            where="--png",
            instead="--json",
        )
    make_folder(path.parent, PNG)
    write_whole(path, moments_png(Path(found.path).name, rows, DECADES[:2], found.eps), PNG)


def _show(found: Inspection, top: int) -> None:
    head = f"{found.path}: {found.kind}, {_count(len(found.rows), 'layer')}, {found.numbers:,} parameters"
    rows = [
        ["!" if row.severe else "", _short(row.health.name), *_cells(row.health)]
        for row in found.rows[:top]
    ]
    lines = [head, *_aligned([["", *COLUMNS], *rows])]
    if len(found.rows) > top:
        lines.append(f"and {_count(len(found.rows) - top, 'more layer')}: --top {len(found.rows)}")
    lines += [*_reasons(found, top), *found.notes, *_summary(found)]
    for line in lines + [line for one in found.planned for line in _plan(one)]:
        typer.echo(printable(line))


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= LONG else f"...{name[3 - LONG :]}"


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


def _cells(h) -> list[str]:
    sizes = [_number(x) for x in (h.t, h.m_rms, h.root_v, h.ratio, h.bound)]
    return [
        *sizes,
        _percent(h.damped),
        _percent(h.zero),
        _number(h.spread),
        _number(h.update),
        h.dtype,
        f"{h.bytes:,}",
    ]


def _number(x: float) -> str:
    return "-" if math.isnan(x) else f"{x:.0f}" if x % 1 == 0 and abs(x) < 1e9 else f"{x:.3g}"


def _percent(x: float) -> str:
    return "-" if math.isnan(x) else "0" if x == 0 else f"{100 * x:.3g} %"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" + "s" * (n != 1)


def _reasons(found: Inspection, top: int) -> list[str]:
    """The reasons of the layers listed."""
    rows = [row for row in found.rows[:top] if row.reasons]
    return [
        f"{'!' if one.severe else ' '} {row.health.name}: {one.what}"
        for row in rows
        for one in row.reasons
    ]


def _summary(found: Inspection) -> list[str]:
    """Horizons, eps and memory."""
    lines = [""]
    for h in found.horizons:
        snr = "" if math.isnan(h.snr) else f"; signal to noise of the gradients about {h.snr:.2g}"
        known = f"at step {h.t:g} sqrt(v) is divided by {_number(h.correction)}"
        lines.append(
            f"betas {h.betas[0]:g}, {h.betas[1]:g}: m remembers {h.memory[0]:.4g} steps (half-life "
            f"{h.half_life[0]:.3g}), v {h.memory[1]:.4g} ({h.half_life[1]:.3g}); "
            f"{'the step is unknown' if math.isnan(h.t) else known}{snr}"
        )
    if not found.horizons:
        lines.append("The file does not say the betas: give them as --trained-with 0.9,0.999.")
    if found.eps is not None and not math.isnan(found.eps_advised):
        advice = (
            "small enough"
            if found.eps <= found.eps_advised * 1.001
            else f"{found.eps_advised:.0e} would leave 99 % of "
            "those with v > 0 their update; it also gives full steps to gradients that small"
        )
        lines.append(
            f"eps {found.eps:g}: sqrt(v_hat) is below it in {_percent(found.damped)} of the coordinates; {advice}"
        )
    kept = ", ".join(f"{form} {bytes:,}" for form, bytes in found.formats.items() if form)
    each = found.bytes / found.numbers if found.numbers else math.nan
    lines.append(
        f"memory: {found.bytes:,} bytes ({kept}), {_number(each)} a parameter; float32 takes 8, 8bit 2.03"
    )
    return lines


def _plan(p: Planned) -> list[str]:
    """What new betas do."""
    lines = [
        f"with betas {p.betas[0]:g}, {p.betas[1]:g} from step {p.t:g} on: at the next step v_hat is {p.v_at_once:.3g} "
        f"and m_hat {p.m_at_once:.3g} times what it should be, updates {p.update_at_once:.3g} times",
        f"  farthest off: {p.update_most:.3g} times; within 1 % after {_count(p.steps, 'step')}; v has forgotten 99 % "
        f"after {p.forget_v:.0f}, m after {p.forget_m:.0f}",
    ]
    if abs(p.update_most - 1) > 0.01:
        lines.append(
            f"  right at once: multiply exp_avg by {p.scale_m:.4g} and exp_avg_sq by {p.scale_v:.4g}"
        )
    if math.isinf(p.bound):
        lines.append(
            f"  beta1 >= sqrt(beta2): an update has no bound, and can grow by a factor {p.growth:.3g} a step"
        )
    else:
        lines.append(f"  the largest update there can be is then {p.bound:.3g} lr")
    return lines
