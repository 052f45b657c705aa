"""`betaplane map --plan`: what a map will cost, before it is trained."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Optional, TextIO

import typer

from betaplane.errors import BadInput
from betaplane.text import plural

if TYPE_CHECKING:
    from betaplane.maps import MapCost, Plan

PANEL = "Plan"
OWN = {"callable": "function of your own", "command": "command"}  # by engine
PlanOpt = Annotated[
    bool,
    typer.Option(
        "--plan",
        rich_help_panel=PANEL,
        help="Print what the map will cost, from a short probe, and exit. Nothing is written.",
    ),
]
WorkersOpt = Annotated[
    Optional[int],
    typer.Option(
        "--plan-workers", rich_help_panel=PANEL, help="Also for so many workers elsewhere."
    ),
]
SpeedOpt = Annotated[
    Optional[float],
    typer.Option(
        "--plan-speed",
        rich_help_panel=PANEL,
        help="Speed of one of them, relative to a worker here [default: 1].",
    ),
]
RunSecondsOpt = Annotated[
    Optional[float],
    typer.Option(
        "--run-seconds",
        rich_help_panel=PANEL,
        help="Seconds of one run here, if you know them; then no run is timed.",
    ),
]


@dataclass(frozen=True)
class PlanRequest:
    """What `--plan` and its options ask for."""

    wanted: bool
    workers: int | None = None
    speed: float | None = None
    run_seconds: float | None = None

    def __post_init__(self) -> None:
        given = {
            "--plan-workers": self.workers,
            "--plan-speed": self.speed,
            "--run-seconds": self.run_seconds,
        }
        for flag, value in given.items():
            if value is not None:
                _check(flag, value, self.wanted)

    def check_alone(self, others: Mapping[str, Any]) -> None:
        """Raise BadInput if an option is given that requests something else, by its flag."""
        for flag, value in others.items():
            if self.wanted and value:
                raise BadInput(f"--plan and {flag} are given", allowed="one of them")

    def check_place(self, place: Mapping[str, Any]) -> None:
        """Raise BadInput if runs were to execute on an executor or GPUs, which a probe does not
        measure.
        """
        given = {name: place[name] for name in ("executor", "gpus") if place[name] is not None}
        for name, value in given.items():
            if value != "local":
                raise BadInput(
                    "A plan is measured in worker processes of this machine",
                    value=value,
                    where=name,
                    instead="--plan --plan-workers 8",
                )


def _check(flag: str, value: float, wanted: bool) -> None:
    least = 1 if flag == "--plan-workers" else 0
    if not (least <= value < math.inf and value > 0):
        allowed = "[1, inf)" if least else "(0, inf)"
        instead = f"--plan {flag} {'8' if least else '60'}"
        raise BadInput(f"{flag} is out of range", value=value, allowed=allowed, instead=instead)
    if not wanted:
        raise BadInput(f"{flag} describes a plan", value=value, instead=f"--plan {flag} {value:g}")


def write_cost(
    cost: MapCost, plan: Plan, problem: str, request: PlanRequest, as_json: bool, result: TextIO
) -> None:
    """Print a cost as text or JSON."""
    if as_json:
        print(json.dumps(_payload(cost, plan, problem, request), indent=2), file=result)
        return
    for label, text in _lines(cost, plan, request):
        print(f"{label:>12}  {text}".rstrip(), file=result)


def _payload(cost: MapCost, plan: Plan, problem: str, request: PlanRequest) -> dict[str, Any]:
    payload = {
        "problem": problem,
        "cells": list(plan.shape),
        "runs": cost.runs,
        "rounds": len(cost.rounds),
        "stored": cost.stored,
        "steps": cost.steps,
        "engine": cost.engine,
        "chunk": cost.chunk,
        "step_flops": cost.usage.step_flops,
        "flops": cost.flops,
        "worker_bytes": cost.usage.peak_bytes,
        "device_bytes": cost.usage.device_bytes,
        "workers": cost.workers,
        "seconds": _number(cost.seconds_here),
        "worker_hours": _number(cost.worker_seconds() / 3600),
        "extrapolated": cost.is_extrapolated,
    }
    if request.workers is not None or request.speed is not None:
        workers, speed = request.workers or max(1, cost.workers), request.speed or 1.0
        payload["elsewhere"] = {
            "workers": workers,
            "speed": speed,
            "seconds": _number(cost.seconds_on(workers, speed)),
            "worker_hours": _number(cost.worker_seconds(speed) / 3600),
        }
    return payload


def _number(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _lines(cost: MapCost, plan: Plan, request: PlanRequest) -> list[tuple[str, str]]:
    together = f", up to {plural(cost.chunk, 'run')} together" if cost.chunk > 1 else ""
    why = f" (not stacked, because {cost.why_plain})" if cost.why_plain else ""
    lines = [
        ("runs", _runs(cost, plan)),
        ("engine", f"{cost.engine}{together}{why}"),
        ("operations", _operations(cost)),
        ("memory", _memory(cost)),
        ("time here", _time_here(cost)),
    ]
    if request.workers is not None or request.speed is not None:
        workers, speed = request.workers or max(1, cost.workers), request.speed or 1.0
        on = f"{plural(workers, 'worker')} of speed {speed:g}"
        text = f"{on}: {duration(cost.seconds_on(workers, speed))}"
        lines.append(("elsewhere", f"{text}, {_hours(cost.worker_seconds(speed))}"))
    return [*lines, ("", "an estimate: nothing was trained beyond a probe, nothing was written")]


def _runs(cost: MapCost, plan: Plan) -> str:
    nx, ny = plan.shape
    text = f"about {plural(cost.runs, 'run')} in {plural(len(cost.rounds), 'round')}"
    text += f" for {nx} x {ny} cells"
    text += f", {plural(cost.steps, 'step')} each" if cost.steps > 1 else ""
    return text + (f"; the store has {plural(cost.stored, 'run')}" if cost.stored else "")


def _operations(cost: MapCost) -> str:
    if cost.engine in ("callable", "command"):
        return f"unknown: they are not visible in a {OWN[cost.engine]}"
    if cost.flops is None:
        return "unknown: the step has no matrix products or convolutions that could be counted"
    return (
        f"{cost.flops:.2g} floating-point operations, {cost.usage.step_flops:,} per step of a run "
        "(matrix products, convolutions, attention)"
    )


def _memory(cost: MapCost) -> str:
    if cost.usage.peak_bytes is None:
        return "unknown"
    text = f"{cost.usage.peak_bytes / 1e6:,.0f} MB per worker process"
    if cost.usage.device_bytes:
        text += f", {cost.usage.device_bytes / 1e6:,.0f} MB on its GPU"
    return text


def _time_here(cost: MapCost) -> str:
    if cost.seconds_of is None:
        return "unknown: a run takes more than a minute; time one and use --run-seconds"
    how = ", extrapolated from fewer steps" if cost.is_extrapolated else ""
    on = plural(max(1, cost.workers), "worker")
    return f"{duration(cost.seconds_here)} on {on}, {_hours(cost.worker_seconds())}{how}"


def _hours(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "worker hours unknown"
    return f"{seconds / 3600:.3g} worker hours (GPU hours if a worker is a GPU)"


def duration(seconds: float) -> str:
    """A duration in the unit that suits it.

    Example:
        >>> duration(12.3), duration(600), duration(7200), duration(8e6), duration(float("nan"))
        ('12 s', '10 min', '2 h', '92.6 days', 'unknown')
    """
    if not math.isfinite(seconds):
        return "unknown"
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 72)):
        if seconds / size < most:
            return (
                f"{seconds / size:.2g} {unit}"
                if seconds / size < 10
                else (f"{seconds / size:.0f} {unit}")
            )
    return f"{seconds / 86400:.3g} days"
