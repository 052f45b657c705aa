"""A plot for each closed form of `betaplane.theory`, made from its signature.

The first argument with values in `SWEPT` runs along the x axis, and the next one that is not swept, if it has values in
`SERIES`, gives one curve per value. All others stay at their default, or at their value in `FIXED`. Formulas of whole
arrays are in `tools/site/theory_special.py`. A formula that cannot be plotted at all stops the build with its name.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from betaplane import theory
from betaplane.errors import BadInput
from tools.site.pictures import STYLED, panels, svg

HORIZONS = np.geomspace(1, 1e4, 80)
BETAS = 1 - 1 / HORIZONS
SIZES = np.geomspace(1e-3, 1e3, 80)
STEPS = np.unique(np.geomspace(1, 1e4, 80).round())
BETA_NAMES = ("beta", "beta2")
RETURN_BETAS = (  # drawn as horizons too, since betas near 1 look alike
    "adafactor_beta2",
    "beta_from_half_life",
    "beta_from_horizon",
    "critical_beta2",
    "debiased_beta",
    "same_half_life",
    "shi_threshold",
    "zhang_threshold",
)
HORIZON = "memory horizon 1 / (1 - beta) in steps"
SWEPT: dict[str, np.ndarray] = {
    "t": STEPS,
    "k": STEPS,
    "i": np.arange(1, 61),
    "batch": np.geomspace(1, 1e5, 80),
    "half_life": np.geomspace(0.1, 1e4, 80),
    "horizon": HORIZONS,
    "width": np.geomspace(64, 16384, 80).round(),
    "root_v": np.geomspace(1e-12, 1, 80),
    "eps_hat": np.geomspace(1e-12, 1e-2, 80),
    "condition": np.geomspace(1, 1e6, 80),
    "gradient": np.geomspace(1e-3, 1, 80),
    "fan_in": np.geomspace(16, 16384, 80),
    "factor": np.geomspace(1 / 64, 64, 81),
    "update": np.linspace(0, 8, 81),
    "rms": np.linspace(0.3, 0.99, 80),
    "C": np.geomspace(2.01, 1e5, 80),
    "n": np.unique(np.geomspace(3, 1000, 60).round().astype(int)),
    "start": np.linspace(0, 1, 60),
    "peak": np.linspace(0.1, 1, 60),
    "room": np.linspace(1.01, 10, 100),
    "skewness": np.linspace(-3, 3, 61),
    "decay": np.linspace(0, 5, 100),
    "normalized": np.geomspace(1e-3, 1, 60),
    "ranks": np.array([2.0**i for i in range(11)]),
    "lr": np.geomspace(1e-5, 1e-1, 80),
    "beta": BETAS,
    "beta2": BETAS,
    "beta1": np.linspace(0, 0.99, 100),
    "tensors": np.arange(0, 5),
    "history": np.arange(1, 101),
    "rank": 2.0 ** np.arange(0, 9),
}
SERIES: dict[str, tuple[Any, ...]] = {
    "beta": (0.9, 0.99, 0.999),
    "beta1": (0.0, 0.9, 0.99),
    "beta2": (0.9, 0.99, 0.999),
    "power": (0.5, 0.8, 1.0),
    "noise_scale": (100, 1000, 10000),
    "n": (10, 20, 50),
    "weight_decay": (0.01, 0.1, 1.0),
    "width": (256, 1024, 4096),
    "fan_out": (256, 1024, 4096),
    "eps": (1e-8, 1e-6, 1e-4),
    "stage": (0, 1, 2, 3),
    "dtype": ("float32", "bfloat16", "float16"),
    "curvature": (1.0, 10.0, 100.0),
    "element": (2.0, 4.0, 8.0),
    "columns": (1024, 4096, 16384),
    "form": ("float32", "bfloat16", "8bit"),
    "momentum": (True, False),
    "kurtosis": (3.0, 10.0, 100.0),
    "degree": (4, 6, 8),
    "samples": (1e5, 1e6, 1e7),
    "end": (0.0, 0.1, 0.5),
    "lr": (1e-4, 1e-3, 1e-2),
    "t": (1, 10, 100),
    "factor": (4.0, 16.0, 64.0),
    "root_v": (0.1, 1.0, 10.0),
    "moved": (0.1, 1.0, 10.0),
    "per_step": (1, 32, 512),
    "constant": (0.1, 1.0, 10.0),
}
FIXED: dict[str, Any] = {
    "base_width": 256,
    "batch": 256,
    "beta1": 0.9,
    "beta2": 0.999,
    "condition": 100.0,
    "decay_from": 0.8,
    "epochs": 1,
    "fan_in": 1024,
    "i": 1,
    "lr": 1e-3,
    "n": 20,
    "params": 7e9,
    "rows": 4096,
    "peak_lr": 1e-3,
    "samples": 1e6,
    "skewness": 1.0,
    "stage": 3,
    "steps": 1000,
    "t": 100,
    "warm": 0.1,
    "weight_decay": 0.1,
}


class Plot(NamedTuple):
    """What a plot shows: one curve per value of `curve`, along the values of `x`."""

    x: str
    values: np.ndarray
    curve: str | None
    curves: tuple[Any, ...]
    call: Callable[[Any, Any], Any]  # of a value of x and one of curve


def closed_forms() -> list[Callable[..., Any]]:
    """The functions of `betaplane.theory`, in the order of `theory.__all__`; the classes there are their results."""
    return [
        getattr(theory, name)
        for name in theory.__all__
        if inspect.isfunction(getattr(theory, name))
    ]


def plot_of(function: Callable[..., Any]) -> Plot:
    """What to plot, from the names of the arguments."""
    names = list(inspect.signature(function).parameters)
    x = next((name for name in names if name in SWEPT), None)
    if x is None:
        raise ValueError(
            f"{function.__name__} has no plot: add one of its arguments, {names}, to SWEPT in {__file__}"
        )
    curve = next((name for name in names if name in SERIES and name != x), None)
    fixed = {
        name: FIXED[name]
        for name in names
        if name not in (x, curve) and _is_required(function, name)
    }

    def call(value: Any, other: Any) -> Any:
        return function(**{x: value}, **({curve: other} if curve else {}), **fixed)

    return Plot(x, SWEPT[x], curve, SERIES[curve] if curve else (None,), call)


@STYLED
def draw(function: Callable[..., Any], plot: Plot) -> str:
    """The plot of a closed form, as SVG; a formula with several results has a panel for each."""
    curves = [[result_at(plot, value, other) for value in plot.values] for other in plot.curves]
    fields = _fields(curves)
    title = (
        f"1 / (1 - {function.__name__})" if function.__name__ in RETURN_BETAS else function.__name__
    )
    figure, axes = panels(len(fields), width=7.0 if len(fields) > 1 else 5.4)
    for i, panel in enumerate(axes):
        for other, row in zip(plot.curves, curves, strict=True):
            style = "o" if plot.values.dtype.kind == "U" else "-"
            panel.plot(_axis(plot), _heights(function, row, i), style, label=_label(plot, other))
        panel.set(title=f"{title}{fields[i]}", xlabel=HORIZON if plot.x in BETA_NAMES else plot.x)
        _set_scales(panel)
    if plot.curve:
        axes[0].legend()
    return svg(figure)


def _is_required(function: Callable[..., Any], name: str) -> bool:
    return inspect.signature(function).parameters[name].default is inspect.Parameter.empty


def result_at(plot: Plot, value: Any, other: Any) -> Any:
    """The formula at one point, or NaN if its arguments are out of range there."""
    try:
        return plot.call(value, other)
    except BadInput:
        return math.nan


def _fields(curves: list[list[Any]]) -> tuple[str, ...]:
    names = next(
        (point._fields for row in curves for point in row if hasattr(point, "_fields")), None
    )
    return tuple(f".{name}" for name in names) if names else ("",)


def _heights(function: Callable[..., Any], row: list[Any], i: int) -> np.ndarray:
    """Part `i` of each result on a curve; a beta as its horizon."""
    heights = np.array(
        [float(result[i] if isinstance(result, tuple) else result) for result in row]
    )
    return 1 / (1 - heights) if function.__name__ in RETURN_BETAS else heights


def _axis(plot: Plot) -> np.ndarray:
    return 1 / (1 - plot.values) if plot.x in BETA_NAMES else plot.values


def _label(plot: Plot, other: Any) -> str | None:
    is_number = isinstance(other, (int, float)) and not isinstance(other, bool)
    return (
        f"{plot.curve} = {other:,g}"
        if is_number
        else f"{plot.curve}: {other}"
        if plot.curve
        else None
    )


def _set_scales(panel: Any) -> None:
    """Logarithmic axes for values that span more than a factor of 50; an axis of evenly spaced x stays linear."""
    x, y = (np.concatenate([_data(line, axis) for line in panel.lines]) for axis in "xy")
    if _spans(x) and np.median(x) < 0.3 * x.max():
        panel.set_xscale("log")
    if _spans(y):
        panel.set_yscale("log")


def _data(line: Any, axis: str) -> np.ndarray:
    values = np.asarray(getattr(line, f"get_{axis}data")(orig=False), dtype=float)
    return values[np.isfinite(values)]


def _spans(data: np.ndarray) -> bool:
    positive = data[data > 0]
    return len(positive) > 0 and data.min() >= 0 and positive.max() > 50 * positive.min()
