"""Does watching name the right cause? `python -m benchmarks.zoo [kin | thresholds | lead | remedies
| zoo ...]`.

Kin are drawn at random by a seed (`benchmarks.kin`); thresholds were set on seeds 0 to 8, figures
told are of another."""

from __future__ import annotations

import inspect
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean, median, stdev
from typing import Any

import torch

from benchmarks.kin import HEALTHY, PLANTED, PLANTS, Run, edge, failing, healthy, spiking
from betaplane.monitor import ALL, Alert, Watcher

SEED = 9
RUNS = 65  # of each sort: the causes, or the kinds of problem, in turn
TUNING = 39  # of each sort, for thresholds
NONE = "(none)"


def main(names: Sequence[str]) -> None:
    torch.set_num_threads(1)
    for name in names or TABLES:
        began = time.perf_counter()
        print(inspect.getdoc(TABLES[name]))
        TABLES[name]()
        print(f"({time.perf_counter() - began:.0f} s)\n", flush=True)


# First causes, and alarms where there is nothing.


def kin_table() -> None:
    """First causes of 65 failing kin and alarms of 65 healthy ones, seed 9, on which nothing was
    chosen.
    """
    told = {cause: Counter() for cause in PLANTS}
    for run in failing(RUNS, SEED):
        first = first_cause(run.train()[0])
        told[run.cause][first] += 1
        if first != run.cause:
            print(f"  {run.cause}: told {first}: {run.name}", flush=True)
    alarms, runs = Counter(), 0
    for run in healthy(RUNS, SEED):
        found = [alert.cause for alert in run.train()[0].alerts]
        alarms.update(set(found))
        runs += bool(found)
        if found:
            print(f"  healthy: told {', '.join(found)}: {run.name}", flush=True)
    row("cause", "right", "of", "false", "told instead")
    for cause, found in told.items():
        other = ", ".join(f"{name} {count}" for name, count in found.items() if name != cause)
        row(cause, found[cause], found.total(), f"{alarms[cause]}/{RUNS}", other)
    right = sum(found[cause] for cause, found in told.items())
    row("all", right, RUNS, f"{alarms.total()}/{RUNS}", f"in {runs} of {RUNS} healthy runs")


def zoo_table() -> None:
    """The zoo itself, three seeds: first causes right, and alarms of its healthy runs."""
    for seed in range(3):
        right = sum(
            first_cause(make(seed=seed)[0]) == name.split(",")[0] for name, make in PLANTED.items()
        )
        alarms = sum(len(make(seed=seed)[0].alerts) for make in HEALTHY.values())
        print(
            f"seed {seed}: {right} of {len(PLANTED)} right; {alarms} alarms in {len(HEALTHY)} healthy runs",
            flush=True,
        )


def first_cause(watcher: Watcher) -> str:
    """The cause in the first line of the report."""
    line = watcher.report().splitlines()[0]
    return line.split(": ")[1].split(". ")[0] if line.startswith("step") else NONE


# Thresholds.

TIMES = [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 4.0, 6.0]
GRADED = [detector for detector in ALL if detector.threshold]


class Reach:
    """How strict a threshold may be, in multiples of the one in use, for each detector still to
    fire in a run.
    """

    def __init__(self) -> None:
        self.place = dict.fromkeys((detector.cause for detector in GRADED), -1)

    def __call__(self, watcher: Watcher) -> None:
        for detector in GRADED if watcher.history.now() else ():
            i = self.place[detector.cause]
            while i + 1 < len(TIMES) and detector.find(
                watcher.history, TIMES[i + 1] * detector.threshold
            ):
                i += 1
            self.place[detector.cause] = i

    def of(self, cause: str) -> float:
        i = self.place[cause]
        return TIMES[i] if i >= 0 else 0.0


def reached(run: Run) -> Reach:
    reach = Reach()
    run.train(after=reach)
    return reach


def thresholds_table() -> None:
    """Thresholds by leaving one kind of problem out, seed 0, in multiples of the one in use.

    Reach: the strictest multiple at which the detector fires in a run; most of the healthy runs,
        least of the planted.
    Chosen: the geometric middle of the two over all other kinds. Then false alarms and misses on the kind left out.
    """
    calm = [(run.kind, reached(run)) for run in healthy(TUNING, 0)]
    planted = [(run.kind, run.cause, reached(run)) for run in failing(TUNING, 0)]
    row(
        "cause",
        "in use",
        "healthy",
        "planted",
        "chosen",
        "false",
        "missed",
        "in use:",
        "false",
        "missed",
    )
    for detector in GRADED:
        cause = detector.cause
        quiet = [(kind, reach.of(cause)) for kind, reach in calm]
        loud = [(kind, reach.of(cause)) for kind, told, reach in planted if told == cause]
        chosen, false, missed = left_out(quiet, loud)
        now = sum(value >= 1 for _, value in quiet), sum(value < 1 for _, value in loud)
        most, least = (
            max(value for _, value in quiet),
            min((value for _, value in loud if value), default=math.nan),
        )
        span = f"{min(chosen):.2f}-{max(chosen):.2f}" if chosen else "-"
        shares = f"{false}/{len(quiet)}", f"{missed}/{len(loud)}"
        row(
            cause,
            detector.threshold,
            most,
            least,
            span,
            *shares,
            "",
            f"{now[0]}/{len(quiet)}",
            f"{now[1]}/{len(loud)}",
        )
    print(f"no false alarm in {TUNING} runs: below {3 / TUNING:.1%} of runs at 95 % confidence")


def left_out(
    quiet: list[tuple[str, float]], loud: list[tuple[str, float]]
) -> tuple[list[float], int, int]:
    """Each kind of problem's threshold from all others, and the errors it then makes."""
    chosen, false, missed = [], 0, 0
    for kind in sorted({kind for kind, _ in [*quiet, *loud]}):
        top = max((value for other, value in quiet if other != kind), default=0.0)
        low = min(
            (value for other, value in loud if other != kind and value > top), default=math.nan
        )
        if math.isnan(low):
            continue
        chosen.append(math.sqrt(max(top, TIMES[0] / 2) * low))
        false += sum(value >= chosen[-1] for other, value in quiet if other == kind)
        missed += sum(value < chosen[-1] for other, value in loud if other == kind)
    return chosen, false, missed


# Warning before damage.

SEEDS = 30
WINDOW = 32  # losses of the running mean
SIGMA = 3.2


def lead_table() -> None:
    """Steps from the alarm to the first loss spike after it was planted: loss > running mean + 3.2
    deviations of 32.
    """
    for cause, make in {"stale second moment": spiking, "adaptive edge of stability": edge}.items():
        leads = []
        for seed in range(SEEDS):
            run = make(random.Random(f"lead {seed}"), cause)
            watcher, _, losses = run.train()
            spike = first_spike(losses, run.planted)
            alarm = next((alert.step for alert in watcher.alerts if alert.cause == cause), None)
            print(f"  {cause}: alarm {alarm or '-'}, spike {spike or '-'}: {run.name}", flush=True)
            if spike is not None:
                leads.append(spike - alarm if alarm is not None else -math.inf)
        early = sum(lead >= 1 for lead in leads)
        middle = median(leads) if leads else math.nan
        print(
            f"{cause}: {early} of {len(leads)} spikes had their alarm a step or more before; median {middle:g} steps"
        )


def first_spike(losses: Sequence[float], start: int) -> int | None:
    """The first step, counted from 1, whose loss is above the running mean by 3.2 deviations."""
    for i in range(start, len(losses)):
        past = losses[max(0, i - WINDOW) : i]
        if not losses[i] <= fmean(past) + SIGMA * max(stdev(past), 1e-3 * abs(fmean(past))):
            return i + 1
    return None


# What the report says, done.


def remedies_table() -> None:
    """Every planted run of the zoo, made again with the remedy of its first alarm."""
    cured = 0
    for name, make in PLANTED.items():
        alert, before, after, gone = again(make)
        cured += gone
        told = {
            key: value if not isinstance(value, list) else f"{len(value)} rows"
            for key, value in alert.remedy.items()
        }
        row(
            name[:44],
            alert.step,
            "gone" if gone else "STAYS",
            f"loss {before:.3g} -> {after:.3g}",
            f" {told}",
        )
    print(f"{cured} of {len(PLANTED)} failures are gone")


def again(make: Callable[..., Any]) -> tuple[Alert, float, float, bool]:
    """The first alarm, the loss at the end without and with its remedy, and whether the failure is
    gone.

    Gone: the alarm is not raised again (a NaN that is skipped is told again, and does nothing), and the loss at the end
    is no more than a twentieth above what it was without the remedy.
    """
    watcher, _, losses = make()
    alert = watcher.alerts[0]
    cured, _, others = make(alert=alert)
    before, after = fmean(losses[-LAST:]), fmean(others[-LAST:])
    silent = (
        all(other.cause != alert.cause for other in cured.alerts) or "nonfinite" in alert.remedy
    )
    return alert, before, after, silent and not after > before + abs(before) / 20


LAST = 10  # losses whose mean is the loss at the end

TABLES = {
    "remedies": remedies_table,
    "zoo": zoo_table,
    "kin": kin_table,
    "lead": lead_table,
    "thresholds": thresholds_table,
}


def row(*cells: object) -> None:
    """A line of a table."""
    shown = [f"{c:.2f}" if isinstance(c, float) else str(c) for c in cells]
    print(f"{shown[0]:<32}", *(f"{c:>8}" for c in shown[1:]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
