"""What is trained: module, loss, data, order; the built-in problems, and yours."""

from betaplane.problems.check import check
from betaplane.problems.counterexample import counterexample
from betaplane.problems.digits import digits
from betaplane.problems.load import BUILT_IN, load
from betaplane.problems.order import minibatches
from betaplane.problems.problem import Problem, Trainer

__all__ = ["BUILT_IN", "Problem", "Trainer", "check", "counterexample", "digits", "load", "minibatches"]
