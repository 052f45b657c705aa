"""Accuracy of the alerts of watched runs, with known causes.

`python -m benchmarks.detection [random | planted | lead | remedies | thresholds ...]`. Random runs
are drawn by a seed (`benchmarks.failures.random_failures`). Thresholds were chosen on seeds 0 to 8;
published figures are for another seed.
"""

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

from benchmarks.failures.planted import HEALTHY, PLANTED
from benchmarks.failures.random_failures import CAUSES, failing, healthy
from benchmarks.failures.runs import Run
from benchmarks.failures.second_moment_failures import spiking_loss
from benchmarks.failures.training_failures import edge_of_stability
from betaplane.monitor import ALL, Alert, Watcher

SEED = 9
RUNS = 65  # failing runs, and healthy runs
TUNING_RUNS = 39  # failing runs, and healthy runs, for thresholds
NO_CAUSE = "(none)"


def main(names: Sequence[str]) -> None:
    torch.set_num_threads(1)
    for name in names or TABLES:
        start = time.perf_counter()
        print(inspect.getdoc(TABLES[name]))
        TABLES[name]()
        print(f"({time.perf_counter() - start:.0f} s)\n", flush=True)


# Causes named first, and false alerts.


def random_table() -> None:
    """First causes of 65 random failing runs and alerts of 65 random healthy runs, seed 9, on which
    nothing was chosen.
    """
    named = {cause: Counter() for cause in CAUSES}  # first causes by planted cause
    for run in failing(RUNS, SEED):
        first = first_cause(run.train()[0])
        named[run.cause][first] += 1
        if first != run.cause:
            print(f"  {run.cause}: reported {first}: {run.name}", flush=True)
    false_alerts, false_runs = Counter(), 0
    for run in healthy(RUNS, SEED):
        causes = [alert.cause for alert in run.train()[0].alerts]
        false_alerts.update(set(causes))
        false_runs += bool(causes)
        if causes:
            print(f"  healthy: reported {', '.join(causes)}: {run.name}", flush=True)
    row("cause", "right", "of", "false", "reported instead")
    for cause, counts in named.items():
        other = ", ".join(f"{name} {count}" for name, count in counts.items() if name != cause)
        row(cause, counts[cause], counts.total(), f"{false_alerts[cause]}/{RUNS}", other)
    right = sum(counts[cause] for cause, counts in named.items())
    false = f"{false_alerts.total()}/{RUNS}"
    row("all", right, RUNS, false, f"in {false_runs} of {RUNS} healthy runs")


def planted_table() -> None:
    """The fixed runs with three seeds: right first causes, and alerts of healthy runs."""
    for seed in range(3):
        right = sum(
            first_cause(make(seed=seed)[0]) == name.split(",")[0] for name, make in PLANTED.items()
        )
        alerts = sum(len(make(seed=seed)[0].alerts) for make in HEALTHY.values())
        false = f"{alerts} alerts in {len(HEALTHY)} healthy runs"
        print(f"seed {seed}: {right} of {len(PLANTED)} right; {false}", flush=True)


def first_cause(watcher: Watcher) -> str:
    """The cause in the first line of the report."""
    line = watcher.report().splitlines()[0]
    return line.split(": ")[1].split(". ")[0] if line.startswith("step") else NO_CAUSE


# Thresholds.

MULTIPLES = [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 4.0, 6.0]
WITH_THRESHOLD = [detector for detector in ALL if detector.threshold]


class Strictest:
    """The strictest threshold, as a multiple of the current one, at which each detector still
    raises an alert in a run.
    """

    def __init__(self) -> None:
        self.index = dict.fromkeys((detector.cause for detector in WITH_THRESHOLD), -1)

    def __call__(self, watcher: Watcher) -> None:
        if not watcher.history.current_readings():
            return
        for detector in WITH_THRESHOLD:
            i = self.index[detector.cause]
            while i + 1 < len(MULTIPLES) and detector.find(
                watcher.history, MULTIPLES[i + 1] * detector.threshold
            ):
                i += 1
            self.index[detector.cause] = i

    def multiple(self, cause: str) -> float:
        i = self.index[cause]
        return MULTIPLES[i] if i >= 0 else 0.0


def strictest_thresholds(run: Run) -> Strictest:
    strictest = Strictest()
    run.train(after=strictest)
    return strictest


def thresholds_table() -> None:
    """Cross-validated thresholds over the kinds of problems, seed 0, as multiples of the current
    threshold.

    "healthy" and "planted": the largest and the smallest of the strictest multiples at which the
    detector raises an alert in healthy runs and in runs with its cause. "chosen": their geometric
    mean over all other kinds, with the false alerts and the misses on the kind that was held out.
    """
    healthy_runs = [(run.kind, strictest_thresholds(run)) for run in healthy(TUNING_RUNS, 0)]
    failing_runs = [
        (run.kind, run.cause, strictest_thresholds(run)) for run in failing(TUNING_RUNS, 0)
    ]
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
    for detector in WITH_THRESHOLD:
        cause = detector.cause
        negative = [(kind, strictest.multiple(cause)) for kind, strictest in healthy_runs]
        positive = [
            (kind, strictest.multiple(cause))
            for kind, planted, strictest in failing_runs
            if planted == cause
        ]
        chosen, false, missed = cross_validated(negative, positive)
        row(
            cause,
            detector.threshold,
            max(value for _, value in negative),
            min((value for _, value in positive if value), default=math.nan),
            f"{min(chosen):.2f}-{max(chosen):.2f}" if chosen else "-",
            f"{false}/{len(negative)}",
            f"{missed}/{len(positive)}",
            "",
            f"{sum(value >= 1 for _, value in negative)}/{len(negative)}",
            f"{sum(value < 1 for _, value in positive)}/{len(positive)}",
        )
    bound = f"below {3 / TUNING_RUNS:.1%} of runs at 95% confidence"
    print(f"no false alert in {TUNING_RUNS} runs: {bound}")


def cross_validated(
    negative: list[tuple[str, float]], positive: list[tuple[str, float]]
) -> tuple[list[float], int, int]:
    """The threshold for each kind of problem from all other kinds, and its errors on that kind."""
    chosen, false, missed = [], 0, 0
    for kind in sorted({kind for kind, _ in [*negative, *positive]}):
        top = max((value for other, value in negative if other != kind), default=0.0)
        low = min(
            (value for other, value in positive if other != kind and value > top), default=math.nan
        )
        if math.isnan(low):
            continue
        chosen.append(math.sqrt(max(top, MULTIPLES[0] / 2) * low))
        false += sum(value >= chosen[-1] for other, value in negative if other == kind)
        missed += sum(value < chosen[-1] for other, value in positive if other == kind)
    return chosen, false, missed


# Warning before damage.

SEEDS = 30
WINDOW = 32  # losses of the running mean
SIGMA = 3.2


def lead_table() -> None:
    """Steps from the alert to the first loss spike after the planted cause: loss > running mean +
    3.2 deviations of 32 losses.
    """
    makers = {"stale second moment": spiking_loss, "adaptive edge of stability": edge_of_stability}
    for cause, make in makers.items():
        leads = []
        for seed in range(SEEDS):
            run = make(random.Random(f"lead {seed}"), cause)
            watcher, _, losses = run.train()
            spike = first_spike(losses, run.planted)
            alert = next((alert.step for alert in watcher.alerts if alert.cause == cause), None)
            print(f"  {cause}: alert {alert or '-'}, spike {spike or '-'}: {run.name}", flush=True)
            if spike is not None:
                leads.append(spike - alert if alert is not None else -math.inf)
        early = sum(lead >= 1 for lead in leads)
        middle = median(leads) if leads else math.nan
        shares = f"{early} of {len(leads)} spikes had an alert at least one step before"
        print(f"{cause}: {shares}; median {middle:g} steps")


def first_spike(losses: Sequence[float], start: int) -> int | None:
    """The first step, counted from 1, with a loss 3.2 deviations above the running mean."""
    for i in range(start, len(losses)):
        past = losses[max(0, i - WINDOW) : i]
        if not losses[i] <= fmean(past) + SIGMA * max(stdev(past), 1e-3 * abs(fmean(past))):
            return i + 1
    return None


# Remedies.


def remedies_table() -> None:
    """Every fixed failing run, repeated with the remedy of its first alert."""
    remedied = 0
    for name, make in PLANTED.items():
        alert, before, after, gone = repeat_with_remedy(make)
        remedied += gone
        remedy = {
            key: value if not isinstance(value, list) else f"{len(value)} rows"
            for key, value in alert.remedy.items()
        }
        row(
            name[:44],
            alert.step,
            "gone" if gone else "STAYS",
            f"loss {before:.3g} -> {after:.3g}",
            f" {remedy}",
        )
    print(f"{remedied} of {len(PLANTED)} failures are gone")


def repeat_with_remedy(make: Callable[..., Any]) -> tuple[Alert, float, float, bool]:
    """The first alert, the final loss without and with its remedy, and whether the failure is gone.

    It is gone if the alert is not raised again (except for a NaN that is skipped), and if the final
    loss is at most 5% above that without the remedy.
    """
    watcher, _, losses = make()
    alert = watcher.alerts[0]
    repeated, _, new_losses = make(alert=alert)
    before, after = fmean(losses[-FINAL_LOSSES:]), fmean(new_losses[-FINAL_LOSSES:])
    silent = (
        all(other.cause != alert.cause for other in repeated.alerts) or "nonfinite" in alert.remedy
    )
    return alert, before, after, silent and not after > before + abs(before) / 20


FINAL_LOSSES = 10  # their mean is the final loss

TABLES = {
    "remedies": remedies_table,
    "planted": planted_table,
    "random": random_table,
    "lead": lead_table,
    "thresholds": thresholds_table,
}


def row(*cells: object) -> None:
    """A line of a table."""
    shown = [f"{c:.2f}" if isinstance(c, float) else str(c) for c in cells]
    print(f"{shown[0]:<32}", *(f"{c:>8}" for c in shown[1:]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
