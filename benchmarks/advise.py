"""How good advice is on published sweeps, against constants.

`python -m benchmarks.advise` prints five tables, in a second and without training:

1. Windows: the share of published best beta2 inside of the window that was made without their
   source, and its width. An end of a sweep counts as inside if the window reaches to it or beyond.
2. Regret: the loss at a beta2, less the lowest loss of the same grid, for advice made without that
   source and for three constants. Losses between the values of a grid are interpolated linearly in
   the logarithm of the half-life; outside of it the loss of its end is taken, which favors what is
   outside, and the number of such grids is printed.
3. Rise: how much the loss rises at a quarter of the best half-life and at four times it, in grids
   that reach so far.
4. Learning rates carried over to another batch size: the factor by which a rule misses the best lr.
5. Learning rates from laws: the factor by which a law misses the best lr.

Sweeps of mixtures of experts are held out: nothing in the advice was made with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from betaplane.advice import Evidence, Experiment, LrSweep, evidence
from betaplane.advice.beta2 import beta2
from betaplane.advice.lr import CARRIED_FACTOR, batch_exponent, batch_pairs, lr
from betaplane.advice.run_spec import RunSpec
from betaplane.theory import half_life

BETA1 = 0.9
CONSTANTS = (0.95, 0.99, 0.999)
ASIDE = "held out"
Beta2Rule = Callable[[Experiment], float]


def sweeps(evidence: Evidence) -> list[Experiment]:
    """The experiments with language models that varied beta2."""
    return [e for e in evidence.experiments if e.unit == "tokens" and e.kind != "fixed"]


def group(one: Experiment | LrSweep) -> str:
    """The source of an experiment, or that it is held out."""
    return one.source if one.model == "dense" else f"{one.source}, {ASIDE}"


def contains(window: tuple[float, float], one: Experiment) -> bool:
    """Whether a window of half-lives holds the best one, or reaches to the end of the sweep."""
    low, high = window
    side = one.observation.side
    return (side > 0 or low <= one.half_life) and (side < 0 or one.half_life <= high)


def window_without(source: str, evidence: Evidence) -> tuple[float, float]:
    """The window of half-lives in tokens, made without a source."""
    spread = evidence.without(source).half_lives("tokens")
    if spread is None:
        raise ValueError("no sweep is left")
    return spread.low, spread.high


def leave_one_out(evidence: Evidence) -> dict[str, tuple[int, int, float]]:
    """By group: the experiments inside of the window without their source, all, and its decades."""
    rows: dict[str, tuple[int, int, float]] = {}
    for one in sweeps(evidence):
        window = window_without(one.source, evidence)
        inside, number, _ = rows.get(group(one), (0, 0, 0.0))
        width = math.log10(window[1] / window[0])
        rows[group(one)] = inside + contains(window, one), number + 1, width
    return rows


def advised_without_source(evidence: Evidence) -> Beta2Rule:
    """The beta2 of advice made without the source of the experiment it is for."""

    def rule(one: Experiment) -> float:
        total = None if one.steps is None else one.steps * one.batch
        others = evidence.without(one.source)
        return float(
            beta2(RunSpec(one.batch, one.unit, total=total, evidence=others), BETA1).row.value
        )

    return rule


def regret(one: Experiment, value: float) -> float:
    """The loss at a beta2 less the lowest loss of the grid."""
    places = np.log(half_life(np.array(one.betas), one.batch))
    loss = np.interp(np.log(half_life(value, one.batch)), places, one.losses)
    return float(loss) - min(one.losses)


def regrets(evidence: Evidence) -> dict[str, dict[str, np.ndarray]]:
    """By group and rule, the regret on each grid."""
    rules: dict[str, Beta2Rule] = {"advice": advised_without_source(evidence)}
    rules |= {f"{constant:g}": lambda _, constant=constant: constant for constant in CONSTANTS}
    grids: dict[str, list[Experiment]] = {}
    for one in sweeps(evidence):
        if one.losses:
            grids.setdefault(group(one), []).append(one)
    return {
        name: {
            label: np.array([regret(g, rule(g)) for g in group]) for label, rule in rules.items()
        }
        for name, group in grids.items()
    }


def rises(evidence: Evidence) -> dict[str, np.ndarray]:
    """By group, the rise of the loss at a quarter of the best half-life and at four times it."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for one in sweeps(evidence):
        short, long = (one.best[0] ** factor for factor in (4, 1 / 4))
        if one.losses and one.betas[0] <= short and long <= one.betas[-1]:
            rows.setdefault(group(one), []).append((regret(one, short), regret(one, long)))
    return {name: np.array(values) for name, values in rows.items()}


def outside(evidence: Evidence, value: Beta2Rule) -> int:
    """The number of grids that do not hold a beta2."""
    grids = [one for one in sweeps(evidence) if one.losses]
    return sum(not one.betas[0] <= value(one) <= one.betas[-1] for one in grids)


def carry_errors(evidence: Evidence) -> dict[str, dict[str, np.ndarray]]:
    """By group and rule, the logarithm of carried lr over best lr, of all pairs of batch sizes."""
    dense = [sweep for sweep in evidence.lr_sweeps if sweep.model == "dense"]
    errors: dict[str, dict[str, list[np.ndarray]]] = {}
    for sweep in evidence.lr_sweeps:
        fitted = batch_exponent(other for other in dense if other.source != sweep.source)
        k, ratio = batch_pairs(sweep)
        rows = errors.setdefault(group(sweep), {})
        for label, exponent in (("unchanged", 0.0), ("fitted", fitted), ("sqrt(k)", 0.5)):
            rows.setdefault(label, []).append(exponent * k - ratio)
        slack = math.log(CARRIED_FACTOR)
        inside = (ratio >= np.minimum(0, k / 2) - slack) & (ratio <= np.maximum(0, k / 2) + slack)
        rows.setdefault("range", []).append(inside)
    return {
        name: {label: np.concatenate(parts) for label, parts in rows.items()}
        for name, rows in errors.items()
    }


def law_errors(evidence: Evidence) -> dict[str, dict[str, np.ndarray]]:
    """By group and law, the logarithm of a law's lr over the best lr of each batch size."""
    errors: dict[str, dict[str, list[float]]] = {}
    for sweep in evidence.lr_sweeps:
        for batch, best in zip(sweep.batch, sweep.lr, strict=True):
            run = RunSpec(
                batch, "tokens", total=sweep.tokens, params=sweep.params, evidence=evidence
            )
            for candidate in lr(run).candidates:
                label = candidate.label.split(" of ")[0]
                rows = errors.setdefault(group(sweep), {}).setdefault(label, [])
                rows.append(math.log(candidate.value / best))
    return {
        name: {label: np.array(values) for label, values in rows.items()}
        for name, rows in errors.items()
    }


def print_windows(evidence: Evidence) -> None:
    rows = leave_one_out(evidence)
    print("Windows of beta2 without the source whose best beta2 are counted")
    print(f"{'source':<28}{'inside':>8}{'of':>5}{'decades':>9}")
    for name, (inside, number, width) in rows.items():
        print(f"{name:<28}{inside:>8}{number:>5}{width:>9.2f}")
    used = [row for name, row in rows.items() if ASIDE not in name]
    inside, number = sum(row[0] for row in used), sum(row[1] for row in used)
    width = float(np.mean([row[2] for row in used]))
    print(f"{'all that are used':<28}{inside:>8}{number:>5}{width:>9.2f}  {inside / number:.0%}\n")


def print_regrets(evidence: Evidence) -> None:
    rows = regrets(evidence)
    labels = list(next(iter(rows.values())))
    total = {label: np.concatenate([row[label] for row in rows.values()]) for label in labels}
    print("Mean regret in loss (largest)")
    print(f"{'source':<28}{'grids':>6}" + "".join(f"{label:>17}" for label in labels))
    for name, row in {**rows, "all": total}.items():
        cells = "".join(f"{f'{v.mean():.4f} ({v.max():.4f})':>17}" for v in row.values())
        print(f"{name:<28}{len(row['advice']):>6}{cells}")
    ratios = [total[label].mean() / total["advice"].mean() for label in labels]
    print(f"{'ratio to advice':<34}" + "".join(f"{ratio:>17.1f}" for ratio in ratios))
    advised = advised_without_source(evidence)
    beyond = [outside(evidence, advised)]
    beyond += [outside(evidence, lambda _, c=c: c) for c in CONSTANTS]
    print(f"{'grids it is outside of':<34}" + "".join(f"{number:>17}" for number in beyond) + "\n")


def print_rises(evidence: Evidence) -> None:
    print("Mean rise of the loss away from the best half-life")
    print(f"{'source':<28}{'grids':>6}{'a quarter':>12}{'four times':>12}{'ratio':>8}")
    for name, values in rises(evidence).items():
        short, long = values.mean(0)
        print(f"{name:<28}{len(values):>6}{short:>12.4f}{long:>12.4f}{short / long:>8.1f}")
    print()


def print_errors(title: str, rows: dict[str, dict[str, np.ndarray]]) -> None:
    print(f"{title}: median factor off (90% of them)")
    for name, row in rows.items():
        print(f"{name}, {len(next(iter(row.values())))} values")
        for label, errors in row.items():
            if label == "range":
                print(f"    {'inside of the range':<42}{errors.mean():>6.0%}")
                continue
            middle, most = np.exp(np.quantile(np.abs(errors), (0.5, 0.9)))
            print(f"    {label:<42}{middle:>6.2f} ({most:.2f})")
    print()


def main() -> None:
    published = evidence()
    print_windows(published)
    print_regrets(published)
    print_rises(published)
    print_errors("lr carried over to another batch", carry_errors(published))
    print_errors("lr from laws", law_errors(published))


if __name__ == "__main__":
    main()
