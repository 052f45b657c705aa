"""Rules as torch.optim.Optimizer: on torch's own kernels where they compute the same, else the rule
itself.
"""

from typing import Any

from betaplane.optim.curvature import hutchinson, sampled_labels
from betaplane.optim.from_rule import host_optimizer
from betaplane.optim.from_torch import from_torch
from betaplane.optim.rule_optimizer import RuleOptimizer, optimizer_class
from betaplane.optim.scheduler import Schedule
from betaplane.optim.torch_classes import (
    SGD,
    TWINS,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    RAdam,
    RMSprop,
)
from betaplane.rules import ALL

_RULED = {rule.__name__: rule for rule in ALL if rule not in TWINS}

__all__ = [
    "SGD",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "RuleOptimizer",
    "Schedule",
    "from_torch",
    "host_optimizer",
    "optimizer_class",
]
__all__ += ["Adamax", "NAdam", "RAdam", "RMSprop", "hutchinson", "sampled_labels"]
__all__ += list(_RULED)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """The optimizer of any other rule on the roll."""
    if name not in _RULED:
        raise AttributeError(f"module 'betaplane.optim' has no attribute {name!r}")
    return optimizer_class(_RULED[name])
