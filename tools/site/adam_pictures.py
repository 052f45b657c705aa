"""The pictures of the page "How Adam works", each from betaplane's own rules and formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from betaplane import theory
from betaplane.rules import ALL, Adam, Rule, state_size
from tools.site.pictures import COLORS, MUTED, STYLED, STYLES, panels, svg

STEPS = 200
UNCORRECTED = Adam(debias="none")


@STYLED
def generate() -> dict[str, str]:
    """The pictures, by their path in docs/."""
    draws = (five_steps, per_parameter, bias_correction, what_breaks, memory)
    return {f"pictures/adam-{draw.__name__.replace('_', '-')}.svg": draw() for draw in draws}


def trace(rule: Rule, gradients: np.ndarray, lr: float = 1e-3) -> dict[str, np.ndarray]:
    """The path of one parameter from x = 1: x, m, v and the update (x - x') / lr after each step."""
    x = torch.ones(1, dtype=torch.float64)
    state, rows = rule.init(x), []
    for gradient in gradients:
        new, state = rule.step(x, torch.tensor([gradient]), state, lr)
        rows.append((new.item(), state.m.item(), state.v.item(), (x - new).item() / lr))
        x = new
    return dict(zip(("x", "m", "v", "update"), np.array(rows).T, strict=True))


def five_steps() -> str:
    """Noisy gradients around 0.5, and what the two moments, the corrections and the division make of them."""
    gradients = 0.5 + np.random.default_rng(0).normal(size=STEPS)
    run, t = trace(Adam(), gradients), np.arange(1, STEPS + 1)
    figure, (left, right) = panels(2)
    left.plot(t, gradients, color=MUTED, lw=0.6, label="gradient g")
    left.plot(t, run["m"] / (1 - 0.9**t), label="m_hat")
    left.plot(t, np.sqrt(run["v"] / (1 - 0.999**t)), label="sqrt(v_hat)")
    left.set(title="two moments of noisy gradients", xlabel="step")
    right.plot(t, run["update"], color=COLORS[2])
    right.axhline(0, color=MUTED, lw=0.8)
    right.set(title="update, in units of lr", xlabel="step")
    left.set(ylim=(-2.5, 4.5))
    left.legend(fontsize=8, ncols=3, loc="upper center")
    return svg(figure)


def per_parameter() -> str:
    """A valley with curvatures 1, 0.1 and 0.01: the path of three parameters under SGD and under Adam."""
    curvatures = torch.tensor([1.0, 0.1, 0.01], dtype=torch.float64)
    figure, axes = panels(2, sharey=True)
    kinds = {kind.__name__: kind for kind in ALL}
    for panel, name, lr in zip(axes, ("SGD", "Adam"), (1.0, 0.02), strict=True):
        paths = _descend(kinds[name](), curvatures, lr)
        for curvature, path, style in zip(curvatures, paths.T, STYLES, strict=True):
            panel.plot(path, label=f"curvature {curvature:g}", **style)
        panel.set(title=f"{name}, lr = {lr:g}", xlabel="step")
    axes[0].set_ylabel("distance to the minimum")
    axes[1].legend()
    return svg(figure)


def _descend(rule: Rule, curvatures: torch.Tensor, lr: float) -> np.ndarray:
    x = torch.ones_like(curvatures)
    state, path = rule.init(x), []
    for _ in range(STEPS // 2):
        path.append(x.abs().numpy())
        x, state = rule.step(x, curvatures * x, state, lr)
    return np.array(path)


def bias_correction() -> str:
    """Updates for a gradient that is always 1, with and without the corrections, and the two factors."""
    t = np.arange(1, STEPS + 1)
    figure, (left, right) = panels(2)
    for label, rule in (("corrected", Adam()), ("not corrected", UNCORRECTED)):
        left.plot(t, trace(rule, np.ones(STEPS))["update"], label=label)
    left.set(title="update for g = 1, in units of lr", xlabel="step", ylim=(0, None))
    right.plot(t, theory.correction(0.9, t), label="of m: 1 / (1 - beta1^t)")
    right.plot(t, np.sqrt(theory.correction(0.999, t)), label="of sqrt(v)")
    right.set(title="correction factors", xlabel="step", xscale="log", yscale="log")
    for panel in (left, right):
        panel.legend()
    return svg(figure)


def what_breaks() -> str:
    """The counterexample above and below its critical beta2, and the update after gradients grow tenfold."""
    figure, (left, right) = panels(2)
    critical = theory.critical_beta2(0.9, 10)
    for beta2 in (round(critical - 0.05, 3), round(critical + 0.05, 3)):
        left.plot(_counterexample(beta2), label=f"beta2 = {beta2:g}")
    left.set(title=f"x, critical beta2 = {critical:.3f}", xlabel="step")
    k = np.arange(1, STEPS + 1)
    for beta2 in (0.95, 0.99, 0.999):
        right.plot(k, theory.jump(k, 0.9, beta2, factor=10.0), label=f"beta2 = {beta2:g}")
    right.set(title="update after g grows 10 times", xlabel="step")
    for panel in (left, right):
        panel.legend()
    return svg(figure)


def _counterexample(beta2: float, n: int = 10, steps: int = 3000) -> list[float]:
    """Adam on the counterexample of Zhang et al. with n terms, cyclic order, beta1 = 0.9 and lr / sqrt(t)."""
    x, rule = torch.ones(1, dtype=torch.float64), Adam(beta2=beta2)
    state, path = rule.init(x), []
    for step in range(steps):
        slope = float(n) if step % n == 0 else -1.0
        gradient = slope * torch.clamp(x + 2, max=1.0)
        x, state = rule.step(x, gradient, state, 0.7 / (step + 1) ** 0.5)
        path.append(x.item())
    return path


def memory() -> str:
    """Bytes of state per parameter of every rule, in float32 and in 8 bits."""
    figure, (panel,) = panels(1, height=5.2)
    sizes = [(kind.__name__, *map(_bytes(kind), ("float32", "8bit"))) for kind in reversed(ALL)]
    names, full, small = zip(*sizes, strict=True)
    panel.barh(names, full, label="float32", height=0.7)
    panel.barh(names, small, label="8bit", height=0.35)
    panel.set(title="state, bytes per parameter")
    panel.legend()
    figure.subplots_adjust(left=0.2)
    return svg(figure)


def _bytes(kind: type[Rule]) -> Any:
    tensors, rest = state_size(kind())
    return lambda form: theory.state_bytes(tensors, form, rest)
