"""The edge of trainability on the (beta1, beta2) plane, and how rough it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from betaplane.claims.checks import AtLeast
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Heat, Panel, Series
from betaplane.claims.lab import WHOLE, Lab
from betaplane.problems import Problem
from betaplane.replicas import Run
from betaplane.rules import Adam

POINTS, STEPS, LR, EXAMPLES = 96, 150, 1.0, 16
# the middle of a window in both betas, and its widths: each zoom is eight times finer
START, WIDTHS = (0.5, 0.5), (0.98, 0.1225, 0.0153)
BOXES = (1, 2, 4, 8, 16, 32)  # cells per side of a box


def measure(lab: Lab) -> None:
    """Final losses over windows that zoom in on the edge, and the dimension of the edge."""
    middle, counts = START, []
    for width in WIDTHS:
        x, y = (np.linspace(m - width / 2, m + width / 2, POINTS) for m in middle)
        losses = _losses(lab, x, y)
        edge = _edge(losses < 1.0)
        boxes = [_boxes(edge, size) for size in BOXES]
        counts.append(boxes)
        dimension = -np.polyfit(np.log(BOXES), np.log(np.maximum(boxes, 1)), 1)[0]
        lab.measure(f"dimension of the edge in a window of {width:g}", dimension)
        heat = Heat(x, y, np.clip(losses.T, 1e-3, 1e3), "final / initial loss", log=True)
        lab.draw(Panel(f"Window of {width:g}", "beta1", "beta2", heat=heat))
        middle = _densest(edge, x, y)
    series = [
        Series(f"window of {width:g}", BOXES, boxes, style="points")
        for width, boxes in zip(WIDTHS, counts, strict=True)
    ]
    series.append(Series("slope 1", BOXES, counts[0][0] / np.array(BOXES), style="dashed"))
    lab.draw(Panel("Boxes on the edge", "cells per side", "boxes", series, "log", "log"))


def _losses(lab: Lab, beta1s: np.ndarray, beta2s: np.ndarray) -> np.ndarray:
    """The final over the initial loss, (beta1, beta2)."""
    rules = [Adam(beta1=float(b1), beta2=float(b2), eps=1e-8) for b1 in beta1s for b2 in beta2s]
    runs = [Run(rule, LR, EXAMPLES, 0) for rule in rules]
    options = replace(WHOLE, points=10, independent=False)
    outcomes = lab.train(_net(), runs, options)
    return np.array([o.final / o.initial for o in outcomes]).reshape(len(beta1s), len(beta2s))


def _edge(trained: np.ndarray) -> np.ndarray:
    """The cells with a neighbor, to the right or above, of the other kind."""
    edge = np.zeros_like(trained)
    edge[:-1] |= trained[:-1] != trained[1:]
    edge[:, :-1] |= trained[:, :-1] != trained[:, 1:]
    return edge


def _boxes(edge: np.ndarray, size: int) -> int:
    """The number of boxes of size x size cells that contain a cell of the edge."""
    count = POINTS // size
    return int(edge.reshape(count, size, count, size).any((1, 3)).sum())


def _densest(edge: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The middle of the window, an eighth as wide, with the most cells of the edge."""
    side = POINTS // 8
    total = np.pad(edge, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    inside = (
        total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    )
    i, j = np.unravel_index(inside.argmax(), inside.shape)
    return float(x[i + side // 2]), float(y[j + side // 2])


def _net() -> Problem:
    """Sixteen random examples and a tanh net of width 8, full batch, in float64."""
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(2, EXAMPLES, 8, generator=generator, dtype=torch.float64)
    return Problem(
        "tanh net",
        _module,
        nn.functional.mse_loss,
        inputs,
        targets[:, :1].contiguous(),
        EXAMPLES,
        steps=STEPS,
        lr=LR,
    )


def _module() -> nn.Module:
    return nn.Sequential(
        nn.Linear(8, 8, bias=False), nn.Tanh(), nn.Linear(8, 1, bias=False)
    ).double()


CLAIM = Claim(
    name="fractal-edge",
    title="The edge of trainability on the plane of the betas",
    statement="The edge between betas that train and betas that do not is fractal: its box-counting "
    "dimension is above 1 at every zoom.",
    sources=(
        Source(
            "J. Sohl-Dickstein", 2024, "2402.06184", "Figure 1, Table 1 (learning rates of SGD)"
        ),
    ),
    setting="A tanh net of width 8 on 16 random examples, full batch, Adam at lr 1, 150 steps in "
    "float64, 96 x 96 betas per window; a run trains if its final loss is below the initial one. The "
    "source varies two learning rates of gradient descent, and finds dimensions of 1.17 to 1.98. A dimension near 2 "
    "means that kinds are mixed down to the grid.",
    checks=tuple(
        AtLeast(f"dimension of the edge in a window of {width:g}", 1.1) for width in WIDTHS
    ),
    measure=measure,
    seeds=1,
)
