"""Three checks of every rule: laws, purity, reference numbers.

Each returns its failures as sentences, so that the checks can be tested, too.
"""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from betaplane.rules import Rule, State
from betaplane.rules._rule import INF

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
STATE_NAMES = {
    "buf": "b",
    "sum": "v",
    "gavg": "g_bar",
    "vmax": "v_max",
    "R": "r",
    "C": "c",
    "s": "v",
    "lr_ema": "c",
}  # names of states in the golden files, and in the rules
# options of golden files that have other names in the rules
VARIANTS: dict[str, dict[str, Any]] = {
    "cautious_adamw": {"eps_at": "hat"},
    "adopt_unclipped": {"limit": "none", "clip": INF},
    "adopt_large_eps": {"limit": "t-1", "clip": INF},
    "stableadamw_timm": {"limits": "update", "debias": "both"},
    "sophia_g": {"gamma": 0.04 * 480, "floor": "sum"},
    "yogi": {"starts": "both"},
    "nadam_constant_beta1": {"momentum": "constant"},
    "nadam_mlcommons": {"momentum": "single"},
    "radam_eps_corrected": {"threshold": ">=5", "eps_at": "after"},
    "laprop_large_eps": {"lr_at": "average"},
}


def run(rule: Rule, x: Tensor, gradients: Tensor, lr: float) -> Tensor:
    """The trajectory x_0, x_1, ... of a rule from a new state."""
    s, path = rule.init(x), [x]
    for g in gradients:
        x, s = rule.step(x, g, s, lr)
        s = estimated(rule, s, g)
        path.append(x)
    return torch.stack(path)


def estimated(rule: Rule, s: State, g: Tensor | None) -> State:
    """The state of a rule that takes estimates of the curvature (Sophia) after one from the
    gradient g.
    """
    return s if g is None or not hasattr(rule, "curvature") else rule.curvature(s, g * g)  # type: ignore[attr-defined]


def sample(*shape: int, seed: int = 0) -> Tensor:
    """Heavy-tailed float64 numbers without zeros."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(*shape, dtype=torch.float64, generator=generator)
    return normal.sign() * (0.3 * normal.abs()).exp() * (0.01 + normal.abs())


def bare(rule: Rule) -> Rule:
    """The rule without eps and decay."""
    return replace(
        rule, **{name: 0.0 for name in ("eps", "weight_decay") if name in rule.hyperparameters()}
    )


def same(a: Tensor, b: Tensor, tolerance: float = 1e-9) -> bool:
    return bool(torch.allclose(a, b, rtol=tolerance, atol=1e-12))


# ---- laws


def odd(rule: Rule, x: Tensor, gradients: Tensor) -> bool:
    return same(run(rule, -x, -gradients, 0.01), -run(rule, x, gradients, 0.01))


def permutes(rule: Rule, x: Tensor, gradients: Tensor) -> bool:
    order = torch.arange(x.numel() - 1, -1, -1)
    return same(
        run(rule, x[order], gradients[:, order], 0.01), run(rule, x, gradients, 0.01)[:, order]
    )


def rests(rule: Rule, x: Tensor, gradients: Tensor) -> bool:
    still = replace(rule, weight_decay=0.0)
    return same(run(still, x, torch.zeros_like(gradients), 0.01)[-1], x, 0.0)


def scale_free(rule: Rule, x: Tensor, gradients: Tensor) -> bool:
    return all(
        same(run(bare(rule), x, c * gradients, 0.01), run(bare(rule), x, gradients, 0.01))
        for c in (1e-4, 300.0)
    )


def first_step(rule: Rule, x: Tensor, gradients: Tensor) -> float | None:
    starts = (x, 3 * x)
    sizes = torch.stack(
        [run(bare(rule), x, g[None], 1.0)[-1] - x for g in gradients for x in starts]
    ).abs()
    return float(sizes.mean()) if same(sizes, sizes.mean().expand_as(sizes)) else None


def bound(rule: Rule, steps: int = 4000) -> float:
    """The largest |x' - x| / lr over histories with the worst ends there are for averages, and
    random ones.

    Up to a step T in the middle or at the end: |g_t| = r^(T - t), and for rules that look ahead 0.1 0.9^(T - t) with
    g_T = 1.
    """
    r = torch.tensor([0.0, 0.1, 0.5, 0.9, 0.9 / 0.999, 0.99, 1.0], dtype=torch.float64)
    ages = (torch.tensor([steps // 2, steps - 1]) - torch.arange(steps)[:, None]).abs()
    powers = (r**age for age in ages.T[..., None])
    leaps = torch.where(ages == 0, 1.0, 0.1 * 0.9 ** ages.double())
    gradients = torch.cat([*powers, leaps, sample(steps, 4)], dim=1) + 1e-140
    return float(
        run(bare(rule), torch.zeros(gradients.shape[1], dtype=torch.float64), gradients, 1.0)
        .diff(dim=0)
        .abs()
        .max()
    )


def broken_laws(rule: Rule, x: Tensor | None = None, gradients: Tensor | None = None) -> list[str]:
    """The declared laws that do not hold, and the ones that hold though they are declared not to."""
    x = sample(5, seed=1) if x is None else x
    gradients = sample(12, 5, seed=2) if gradients is None else gradients
    caught = [
        f"{law.__name__} is declared {getattr(rule.laws, law.__name__)}"
        for law in (odd, permutes, rests, scale_free)
        if law(rule, x, gradients) is not getattr(rule.laws, law.__name__)
    ]
    found, declared = first_step(rule, x, gradients), rule.laws.first_step
    if (found is None) != (declared is None) or (
        found and declared and abs(found / declared - 1) > 1e-9
    ):
        caught.append(f"first_step is declared {declared} but is {found}")
    return caught


def broken_bound(rule: Rule) -> list[str]:
    """A step bound that is exceeded, or that no history comes near."""
    declared = rule.laws.bound
    if declared is None:
        return []
    found = bound(rule)
    near = 0.98 * declared < found < declared * (1 + 1e-6)
    return [] if near else [f"bound is declared {declared} but {found} was found"]


# ---- purity


def impurities(rule: Rule) -> list[str]:
    """Arguments that a step changes, and results that change when the step is asked for again."""
    x, caught = sample(5, seed=3), []
    s = rule.init(x)
    for g in sample(3, 5, seed=4):
        before = [a.clone() for a in (x, g, *s)]
        x1, s1 = rule.step(x, g, s, 0.01)
        caught += [
            f"{name} was changed in place"
            for name, old, now in zip(("x", "g", *s._fields), before, (x, g, *s), strict=True)
            if not torch.equal(old, now)
        ]
        x2, s2 = rule.step(x, g, s, 0.01)
        if not all(torch.equal(a, b) for a, b in zip((x1, *s1), (x2, *s2), strict=True)):
            caught.append("two equal calls gave two results")
        caught += [
            f"{name} is kept in the memory of an argument, which torch writes over"
            for name, kept in zip(s1._fields, s1, strict=True)
            if kept.data_ptr() in (x.data_ptr(), g.data_ptr())
        ]
        x, s = x1, estimated(rule, s1, g)
        caught += [
            f"{name} was changed by an estimate"
            for name, old, now in zip(s._fields, s2, s1, strict=True)
            if not torch.equal(old, now)
        ]
    return caught


# ---- reference


def golden(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def built(kind: type[Rule], record: dict[str, Any]) -> Rule:
    """The rule with a golden record's hyperparameters, decay off unless the record has it."""
    names = {field.name for field in fields(kind)}
    said = (
        {"weight_decay": 0.0} | record["hyperparameters"] | VARIANTS.get(record.get("rule", ""), {})
    )
    return kind(**{k: v for k, v in said.items() if k in names})


def golden_misses(kind: type[Rule], name: str, tolerance: float = 1e-12) -> list[str]:
    """The steps at which a rule leaves the golden numbers, in x or in its state."""
    record = golden(name)
    rule, hyper = built(kind, record), record["hyperparameters"]
    x = torch.tensor(record["params0"], dtype=torch.float64)
    s, caught = rule.init(x), []
    for step in record["steps"]:
        lr = hyper.get("lr", kind.lr) * hyper.get("lr_mult", [1.0] * step["t"])[step["t"] - 1]
        x, s = rule.step(x, torch.tensor(step["grad"], dtype=torch.float64), s, lr)
        sampled = record.get("sampled_grad", {step["t"] - 1: None})[step["t"] - 1]
        s = estimated(
            rule, s, None if sampled is None else torch.tensor(sampled, dtype=torch.float64)
        )
        pairs = {"x": (x, step["params"])} | {
            k: (getattr(s, STATE_NAMES.get(k, k)), v) for k, v in step["state"].items()
        }
        for word, (ours, theirs) in pairs.items():
            gap = float((ours - torch.tensor(theirs, dtype=torch.float64)).abs().max())
            if not gap <= tolerance:
                caught.append(f"{name}, step {step['t']}: {word} is {gap:.1e} off")
    return caught


def torch_misses(
    rule: Rule,
    optimizer: type[torch.optim.Optimizer],
    lr: float = 0.01,
    steps: int = 20,
    shape: tuple[int, ...] = (7,),
    **kwargs,
) -> list[str]:
    """Where a rule leaves torch's own optimizer, in float64."""
    x, gradients = sample(*shape, seed=5), sample(steps, *shape, seed=6)
    p = x.clone().requires_grad_()
    theirs, caught = optimizer([p], lr=lr, **kwargs), []
    for t, ours in enumerate(run(rule, x, gradients, lr)[1:]):
        p.grad = gradients[t].clone()
        theirs.step()
        gap = float((ours - p.detach()).abs().max())
        if not gap <= 1e-12:
            caught.append(f"step {t + 1}: {gap:.1e} off")
    return caught
