"""Rules as torch.optim.Optimizer: on torch's own kernels if they compute the same, else the rule
itself.

Type checkers and editors read `__init__.pyi`, which `python -m tools.stubs` writes.
"""

from betaplane.call_errors import explain_calls
from betaplane.optim.curvature import hutchinson, sampled_labels
from betaplane.optim.from_rule import host_optimizer
from betaplane.optim.from_torch import from_torch
from betaplane.optim.rule_optimizer import RuleOptimizer, optimizer_class
from betaplane.optim.scheduler import Schedule
from betaplane.optim.torch_classes import CLASS_OF_RULE
from betaplane.rules import ALL

_OPTIMIZERS = {rule.__name__: CLASS_OF_RULE.get(rule) or optimizer_class(rule) for rule in ALL}
for _optimizer in _OPTIMIZERS.values():
    if _optimizer.__module__ == RuleOptimizer.__module__:
        _optimizer.__module__ = __name__  # where pickle looks the class up
globals().update(_OPTIMIZERS)

__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    "RuleOptimizer",
    "Schedule",
    "from_torch",
    "host_optimizer",
    "hutchinson",
    "optimizer_class",
    "sampled_labels",
    *_OPTIMIZERS,
]

explain_calls(__name__, methods=False)
