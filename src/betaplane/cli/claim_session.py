"""Run several claims at once, with progress and the time that is left."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from betaplane.claims.catalog import load_claim, selected
from betaplane.claims.claim import Claim
from betaplane.claims.result import Result, run_claim, shipped
from betaplane.claims.store import ClaimStore
from betaplane.cli.files import make_folder
from betaplane.cli.map_plan import duration
from betaplane.errors import BadInput

Finished = Callable[[Claim, Result], None]
DEFAULT_SECONDS = 30.0  # of a claim without a result


def run_claims(
    names: Sequence[str],
    sizes: Sequence[float],
    slow: bool,
    workers: int | None,
    again: bool,
    store_folder: Path,
    finished: Finished,
) -> None:
    """Run the claims that have no result yet, and report all of them in the order they finish."""
    claims, store = selected(names, slow), ClaimStore(store_folder)
    _check(claims, sizes, workers)
    make_folder(store_folder, "--store out/claims")  # before the work, so that none is lost
    open_claims = []
    for claim in claims:
        done = None if again else store.finished(claim, sizes)
        if done is None:
            open_claims.append(claim)
        else:
            finished(claim, done)
    count = min(len(open_claims), workers or os.cpu_count() or 1)
    with _progress(open_claims, count) as advance:
        for claim, result in _results(open_claims, sizes, count):
            store.save(result)
            advance(claim)
            finished(claim, result)


def _check(claims: Sequence[Claim], sizes: Sequence[float], workers: int | None) -> None:
    if workers is not None and workers < 1:
        raise BadInput("workers is out of range", value=workers, allowed=">= 1")
    for claim in claims:
        if sizes and not claim.sizes:
            raise BadInput(f"{claim.name} does not depend on a size", instead=claim.command)


def _results(
    claims: Sequence[Claim], sizes: Sequence[float], workers: int
) -> Iterator[tuple[Claim, Result]]:
    if workers <= 1:
        for claim in claims:
            yield claim, run_claim(claim, sizes)
        return
    from loky import get_reusable_executor

    pool = get_reusable_executor(max_workers=workers, env={"OMP_NUM_THREADS": "1"})
    longest_first = sorted(claims, key=_expected_seconds, reverse=True)
    futures: dict[Future[Result], Claim] = {
        pool.submit(_run, claim.name, tuple(sizes)): claim for claim in longest_first
    }
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(kill_workers=True)


def _run(name: str, sizes: Sequence[float]) -> Result:
    import torch

    torch.set_num_threads(1)
    return run_claim(load_claim(name), sizes)


def _expected_seconds(claim: Claim) -> float:
    result = shipped(claim.name)
    return DEFAULT_SECONDS if result is None else result.seconds


@contextmanager
def _progress(claims: Sequence[Claim], workers: int) -> Iterator[Callable[[Claim], None]]:
    """A bar with the time left, by the run times of the results in the package."""
    console = Console(stderr=True)
    left = {claim.name: _expected_seconds(claim) for claim in claims}

    def text() -> str:
        if not left:
            return "done"
        seconds = max(sum(left.values()) / max(1, workers), max(left.values()))
        return f"{len(left)} left, about {duration(seconds)}: {', '.join([*left][:3])}"

    columns: tuple[Any, ...] = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(text(), total=len(claims))

        def advance(claim: Claim) -> None:
            left.pop(claim.name, None)
            bar.update(task, advance=1, description=text())

        yield advance
