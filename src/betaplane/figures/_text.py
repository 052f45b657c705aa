"""Labels and sentences of a map, shared by all figures."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from betaplane.figures import palette
from betaplane.maps.grid import distance_units
from betaplane.maps.phase_map import DEGRADED, FAILING, GOOD, Mark, PhaseMap
from betaplane.text import format_number, plural, printable

SYMBOLS = {
    "beta1": "β₁",
    "beta2": "β₂",
    "eps": "ε",
    "lr": "lr",
    "batch_size": "batch size",
    "weight_decay": "weight decay",
}
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
SCORE = f"(final {MINUS} best) / (initial {MINUS} best)"
LOG_SCORE = f"share of the most decades of (final {MINUS} best) that a run did not gain"
JUDGED = {
    "loss": "loss",
    "regret": "average regret",
    "gradient-norm": "gradient norm",
    "validation": "held-out metric",
}
ASCII = (
    ("β", "beta"),
    ("₁", "1"),
    ("₂", "2"),
    ("ε", "eps"),
    ("√", "sqrt "),
    ("·", "-"),
    (MINUS, "-"),
    (DASH, "-"),
    ("★", "*"),
)


def symbol(name: str) -> str:
    """The symbol of a hyperparameter in figures, after its parameter group if it has one.

    Example:
        >>> symbol("beta2"), symbol("embedding.weight_decay")
        ('β₂', 'embedding.weight decay')
    """
    group, dot, setting = name.rpartition(".")
    return group + dot + SYMBOLS.get(setting, setting.replace("_", " "))


def with_symbols(text: str) -> str:
    """A label with its hyperparameters as symbols.

    Example:
        >>> with_symbols("beta1 = sqrt(beta2)")
        'β₁ = √β₂'
    """
    text = re.sub(r"sqrt\((\w+)\)", r"√\1", text)
    return text.replace("beta1", "β₁").replace("beta2", "β₂")


def loss(value: float | None) -> str:
    """A loss or a score as text; "diverged" if it is infinite, a dash if it is missing."""
    if value is None or math.isnan(value):
        return DASH
    return "diverged" if math.isinf(value) else f"{value:.4g}"


def settings(values: Mapping[str, float], *names: str) -> str:
    """Settings in one line, "β₁ 0.9, β₂ 0.999"; only those in `names` if it is given."""
    return ", ".join(
        f"{symbol(name)} {format_number(name, values[name])}"
        for name in names or values
        if name in values
    )


def distance(length: float, phase_map: PhaseMap) -> str:
    """A distance on a map: in decades and as a factor, unless an axis is linear.

    Args:
        length: the distance between two positions; inf if there is no other verdict.
        phase_map: gives the scales of the axes.
    """
    if not math.isfinite(length):
        return "no other verdict on this map"
    units = distance_units(phase_map.x, phase_map.y)[1]
    factor = f" (a factor of {10.0**length:.2g})" if units == "decades" else ""
    return f"{length:.2f} {units}{factor}"


def score(phase_map: PhaseMap) -> str:
    """The definition of the score of the cells of a map."""
    if phase_map.predicted:
        return "Cost = factor of lr lost to noise"
    of = "" if phase_map.judge == "loss" else f" of the {measure(phase_map)}"
    return f"Score = {LOG_SCORE if phase_map.score == 'log' else SCORE}{of}"


def measure(phase_map: PhaseMap) -> str:
    """What the runs are judged by, and their curves show."""
    return JUDGED[phase_map.judge]


def title(phase_map: PhaseMap) -> str:
    """The headline of a map."""
    verb = "should converge" if phase_map.predicted else "converges"
    return printable(f"Where {phase_map.rule} {verb}: {phase_map.problem}")


def fixed_settings(phase_map: PhaseMap) -> str:
    """The hyperparameters that are not axes, in one line."""
    return settings(phase_map.fixed)


def seeds(phase_map: PhaseMap) -> str:
    """Number of seeds of trained cells: "3 seeds per cell", "1 to 5 seeds per cell"."""
    numbers = sorted({len(cell.finals) for cell in phase_map.cells.values()} or {0})
    if len(numbers) == 1:
        return plural(numbers[0], "seed") + " per cell"
    return f"{numbers[0]} to {numbers[-1]} seeds per cell"


def caption(phase_map: PhaseMap, dots: str = "") -> str:
    """The data behind the map, in one line.

    Args:
        phase_map: the map.
        dots: how the figure marks trained cells, if some are inferred.
    """
    if phase_map.predicted is not None:
        return phase_map.predicted.rests_on
    cells, trained = phase_map.verdicts.size, len(phase_map.cells)
    every = trained >= cells
    share = (
        f"all {cells} cells trained"
        if every
        else f"{trained} of {cells} cells trained{dots}, the others inferred"
    )
    if phase_map.points:
        share = f"runs of a sweep{dots}, the plane inferred from them"
    parts = [share, plural(phase_map.trainings, "run")]
    # 1: a function or a command counts its own steps
    parts += [f"up to {plural(phase_map.steps, 'step')} each"] if phase_map.steps > 1 else []
    undecided = sum(not cell.decided for cell in phase_map.cells.values())
    parts += [f"{plural(undecided, 'cell')} undecided"] if undecided else []
    return " · ".join([*parts, seeds(phase_map)])


def headline(phase_map: PhaseMap) -> str:
    """The recommended learning rate, if it was searched, and values of the two axes; empty if there
    is no recommendation.
    """
    best = phase_map.recommendation
    if best is None:
        return ""
    axes = [phase_map.x.name, phase_map.y.name]
    names = ["lr", *axes] if best.decision is not None and "lr" not in axes else axes
    return settings(best.settings, *names)


def short_reason(reason: str) -> str:
    """The first half of a reason, without the window.

    Example:
        >>> short_reason("It is far inside; from here to there.")
        'It is far inside.'
    """
    return with_symbols(reason.split(";")[0].rstrip(".") + ".")


def no_recommendation(phase_map: PhaseMap) -> str:
    """The text of a map without a recommendation."""
    if phase_map.predicted is not None:
        return with_symbols(phase_map.predicted.window)
    if phase_map.x.of_problem or phase_map.y.of_problem:
        return "An option of the problem is no setting: nothing to recommend."
    return "No good cell on this map: nothing to recommend."


def window(phase_map: PhaseMap) -> str:
    """The values of y for which training is good; empty if there is no recommendation."""
    best, name = phase_map.recommendation, phase_map.y.name
    return "" if best is None else f"good for {symbol(name)} from {span(name, best.window)}"


def verdict_rules(phase_map: PhaseMap) -> dict[int, tuple[str, str]]:
    """The name and the range of scores of each verdict of a map."""
    good, failing = phase_map.thresholds.good, phase_map.thresholds.failing
    names = phase_map.verdict_names
    if phase_map.predicted is not None:
        rules = {GOOD: f"cost < {failing:g}", FAILING: f"> {failing:g}, uphill"}
    else:
        rules = {
            GOOD: f"score < {good:g}",
            DEGRADED: f"{good:g} to {failing:g}",
            FAILING: f"> {failing:g} or diverged",
        }
    return {verdict: (names[verdict], rule) for verdict, rule in rules.items()}


def ramps(phase_map: PhaseMap) -> tuple[tuple[str, str], ...]:
    """The colors of the verdicts of a map."""
    return palette.RAMPS if phase_map.predicted is None else palette.PREDICTED_RAMPS


def chip_color(mark: Mark, phase_map: PhaseMap) -> str:
    """The color of a mark's verdict; gray if it has none, or is not predicted to fail."""
    if mark.verdict is None or (phase_map.predicted and mark.verdict != FAILING):
        return palette.MUTED
    return palette.SOLID[mark.verdict]


def span(name: str, window: tuple[float, float]) -> str:
    """A window of a hyperparameter as text."""
    low, high = (format_number(name, end) for end in window)
    return low if low == high else f"{low} to {high}"


def verdict_name(mark: Mark, verdicts: tuple[str, ...]) -> str:
    """The verdict of a mark."""
    return "outside the map" if mark.verdict is None else verdicts[mark.verdict]


def short_label(mark: Mark) -> str:
    """The short label of a mark: its "(0.9, 0.999)", or all of it if it has none.

    Example:
        >>> short_label(Mark("(0.9, 0.999) torch's default", 0.9, 0.999, 0, 1.0))
        '(0.9, 0.999)'
    """
    match = re.match(r"\([^)]*\)", mark.label)
    return match[0] if match else mark.label


def to_ascii(text: str) -> str:
    """A text in ASCII, for terminals without Unicode.

    Example:
        >>> to_ascii("β₁ = √β₂ · ★")
        'beta1 = sqrt beta2 - *'
    """
    for character, replacement in ASCII:
        text = text.replace(character, replacement)
    return text.encode("ascii", "replace").decode()
