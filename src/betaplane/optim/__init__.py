"""Rules as torch.optim.Optimizer: torch's own kernels where they compute the same, else the rule itself."""

from betaplane.optim.host import host_optimizer
from betaplane.optim.rule_optimizer import RuleOptimizer

__all__ = ["RuleOptimizer", "host_optimizer"]
