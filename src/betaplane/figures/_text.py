"""Numbers and sentences of a map, said the same way in every figure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from betaplane.maps.phase_map import Mark, PhaseMap
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
TORCH_RULES = ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "SGD", "Adagrad", "RMSprop")


def symbol(name: str) -> str:
    """How a hyperparameter is written in figures."""
    return SYMBOLS.get(name, name.replace("_", " "))


def pretty(text: str) -> str:
    """A label with its hyperparameters as symbols.

    Example:
        >>> pretty("beta1 = sqrt(beta2)")
        'β₁ = √β₂'
    """
    text = re.sub(r"sqrt\((\w+)\)", r"√\1", text)
    return text.replace("beta1", "β₁").replace("beta2", "β₂")


def loss(value: float | None) -> str:
    """A loss or a score; "diverged" where it is infinite, a dash where there is none."""
    if value is None or math.isnan(value):
        return DASH
    return "diverged" if math.isinf(value) else f"{value:.4g}"


def settings(values: Mapping[str, float], *names: str) -> str:
    """Settings in one line: "β₁ 0.9, β₂ 0.999"; only `names`, where given."""
    return ", ".join(
        f"{symbol(name)} {format_number(name, values[name])}"
        for name in names or values
        if name in values
    )


def distance(decades: float) -> str:
    """A distance on the map, as the factor it is: 0.3 decades are a factor of 2.

    Example:
        >>> distance(0.301), distance(float("inf"))
        ('0.30 decades (a factor of 2)', 'no other verdict on this map')
    """
    if not math.isfinite(decades):
        return "no other verdict on this map"
    return f"{decades:.2f} decades (a factor of {10.0**decades:.2g})"


def score(phase_map: PhaseMap) -> str:
    """What the score of this map's cells is."""
    return "Cost = factor of lr lost to noise" if phase_map.predicted else f"Score = {SCORE}"


def title(phase_map: PhaseMap) -> str:
    """The headline of a map."""
    verb = "should converge" if phase_map.predicted else "converges"
    return printable(f"Where {phase_map.rule} {verb}: {phase_map.problem}")


def held(phase_map: PhaseMap) -> str:
    """The hyperparameters that do not vary, in one line."""
    return settings(phase_map.fixed)


def seeds(phase_map: PhaseMap) -> str:
    """How many seeds the trained cells have: "3 seeds a cell", "1 to 5 seeds a cell"."""
    numbers = sorted({len(cell.finals) for cell in phase_map.cells.values()} or {0})
    if len(numbers) == 1:
        return plural(numbers[0], "seed") + " a cell"
    return f"{numbers[0]} to {numbers[-1]} seeds a cell"


def caption(phase_map: PhaseMap, dots: str = "") -> str:
    """What the map rests on, in one line; `dots` says how a figure marks trained cells where not
    all are.
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
    parts = [share, plural(phase_map.trainings, "training")]
    parts += [f"up to {plural(phase_map.steps, 'step')} each"] if phase_map.steps else []
    return " · ".join([*parts, seeds(phase_map)])


def headline(phase_map: PhaseMap) -> str:
    """The recommended values of the two axes; empty where nothing is recommended."""
    found = phase_map.recommendation
    return "" if found is None else settings(found.settings, phase_map.x.name, phase_map.y.name)


def short_reason(reason: str) -> str:
    """The first half of a reason: the second is the window, where that is told anyway.

    Example:
        >>> short_reason("It lies far inside; from here to there.")
        'It lies far inside.'
    """
    return pretty(reason.split(";")[0].rstrip(".") + ".")


def window(phase_map: PhaseMap) -> str:
    """Between which values of y training stays good; empty where nothing is recommended."""
    found, name = phase_map.recommendation, phase_map.y.name
    return "" if found is None else f"good for {symbol(name)} from {span(name, found.window)}"


def verdict_rules(phase_map: PhaseMap) -> tuple[str, str, str]:
    """Where each verdict lies, in scores."""
    good, failing = phase_map.thresholds.good, phase_map.thresholds.failing
    if phase_map.predicted is not None:
        return f"cost < {good:g}", f"{good:g} to {failing:g}", f"> {failing:g}, uphill"
    return f"score < {good:g}", f"{good:g} to {failing:g}", f"> {failing:g} or diverged"


def span(name: str, window: tuple[float, float]) -> str:
    """The recommended window of a hyperparameter."""
    low, high = (format_number(name, end) for end in window)
    return low if low == high else f"{low} to {high}"


def standing(mark: Mark, verdicts: tuple[str, ...]) -> str:
    """A mark's verdict in a word."""
    return "outside the map" if mark.verdict is None else verdicts[mark.verdict]


def bare(mark: Mark) -> str:
    """A mark's label where there is little room: its "(0.9, 0.999)", or all of it where it has
    none.

    Example:
        >>> bare(Mark("(0.9, 0.999) torch's default", 0.9, 0.999, 0, 1.0))
        '(0.9, 0.999)'
    """
    found = re.match(r"\([^)]*\)", mark.label)
    return found.group(0) if found else mark.label


def torch_line(phase_map: PhaseMap) -> str:
    """The recommendation as a line of Python; empty where there is none."""
    if phase_map.recommendation is None:
        return ""
    values = {**phase_map.fixed, **phase_map.recommendation.settings}
    rule = "Adam" if phase_map.rule == "AMSGrad" else phase_map.rule
    place = "torch.optim" if rule in TORCH_RULES else "betaplane"
    words = ["model.parameters()", *_words_of(values, "lr")]
    if "beta1" in values and "beta2" in values:
        words.append(f"betas=({_float(values['beta1'])}, {_float(values['beta2'])})")
    words += _words_of(values, "eps")
    if values.get("weight_decay") or rule == "AdamW":  # the default of torch's AdamW is not 0
        words += _words_of(values, "weight_decay")
    words += ["amsgrad=True"] if phase_map.rule == "AMSGrad" else []
    return f"{place}.{rule}({', '.join(words)})"


def _words_of(values: Mapping[str, float], name: str) -> list[str]:
    return [f"{name}={_float(values[name])}"] if name in values else []


def _float(value: float) -> str:
    """A number as Python writes floats: torch wants betas to be floats, not 0."""
    return repr(float(f"{value:.12g}"))


def plain(text: str) -> str:
    """A text in ASCII, for terminals that write nothing else.

    Example:
        >>> plain("β₁ = √β₂ · ★")
        'beta1 = sqrt beta2 - *'
    """
    for symbol, word in ASCII:
        text = text.replace(symbol, word)
    return text.encode("ascii", "replace").decode()
