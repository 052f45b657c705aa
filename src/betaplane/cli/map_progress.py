"""What `betaplane map` shows while it trains: the size of the map, and a bar."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from betaplane.maps import Estimate, Plan
from betaplane.text import plural


def progress_bar(console: Console) -> Progress:
    """The bar of a map: finished runs, expected ones, runs per second."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
        console=console,
    )


def announcement(estimate: Estimate, plan: Plan) -> str:
    """The size of the map and the engine."""
    nx, ny = plan.shape
    text = f"{nx} x {ny} cells, about {plural(estimate.trainings, 'run')}"
    text += f" of {plan.steps} steps" if plan.steps > 1 else ""
    if estimate.stored:
        text += f"; {estimate.stored:,} of them in the store"
    if estimate.speeds is not None:
        s = estimate.speeds
        speeds = f"stacked {s.stacked:,.0f}, plain {s.plain:,.0f}"
        text += f"\nengine: {estimate.engine} (run steps per second on one core: {speeds})"
        text += f"\nnot stacked, because {s.note}" if s.note else ""
    return text
