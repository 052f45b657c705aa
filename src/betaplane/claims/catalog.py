"""All claims, in the order of the report: one module per claim in `claims/literature`.

To add a claim, write `literature/NAME.py` with a constant CLAIM, and add its name here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module

from betaplane.claims.claim import Claim
from betaplane.errors import unknown

ALL = (
    "fixed-betas",
    "phase-transition",
    "batch-threshold",
    "neighborhood",
    "concentration",
    "update-bound",
    "jump-transient",
    "stale-v",
    "equal-betas",
    "bias-correction",
    "warmup",
    "epsilon",
    "scale-invariance",
    "valley-walk",
    "sparse-rows",
    "first-step",
    "optimizer-race",
    "generalization-gap",
    "grokking",
    "lora-state",
    "weight-scale",
    "state-memory",
    "batch-transfer",
    "adafactor-schedule",
    "degenerate-minimum",
    "spike-without-sharpening",
    "bias-correction-tuned",
    "batch-lead",
    "heavy-tails",
    "linear-transformer",
    "block-hessian",
    "twice-as-fast",
    "decoupled-decay",
    "giant-gradient",
    "rotated-weights",
    "small-eps",
    "cautious-decay",
    "fractal-edge",
)


@cache
def load_claim(name: str) -> Claim:
    """The claim of a name; only its own module is imported.

    Raises:
        BadInput: there is no claim of this name.
    """
    if name not in ALL:
        raise unknown("claim", name, ALL, instead="betaplane claims run {}")
    return import_module(f"betaplane.claims.literature.{name.replace('-', '_')}").CLAIM


def selected(names: Sequence[str], slow: bool = False) -> list[Claim]:
    """The claims of some names; "all" means all that are not slow, or all with `slow`."""
    if "all" not in names:
        return [load_claim(name) for name in dict.fromkeys(names)]
    return [claim for claim in map(load_claim, ALL) if slow or not claim.slow]
