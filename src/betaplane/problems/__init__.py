"""Problems: a module, a loss, data and a minibatch order; built-in ones and the user's own."""

from betaplane.call_errors import explain_calls
from betaplane.problems.check import check
from betaplane.problems.commands.command import Command
from betaplane.problems.counterexample import counterexample
from betaplane.problems.digits import digits
from betaplane.problems.fingerprint import fingerprint
from betaplane.problems.from_lightning import from_lightning
from betaplane.problems.from_trainer import from_trainer
from betaplane.problems.linear_transformer import linear_transformer
from betaplane.problems.load import BUILT_IN, load
from betaplane.problems.mnist import mnist
from betaplane.problems.modular import modular
from betaplane.problems.order import minibatches
from betaplane.problems.power import power
from betaplane.problems.problem import Problem, Trainer
from betaplane.problems.quadratic import quadratic
from betaplane.problems.rare_classes import rare_classes
from betaplane.problems.reddi import reddi
from betaplane.problems.sparse import sparse
from betaplane.problems.text import text
from betaplane.problems.valley import valley

__all__ = [
    "BUILT_IN",
    "Command",
    "Problem",
    "Trainer",
    "check",
    "counterexample",
    "digits",
    "fingerprint",
    "from_lightning",
    "from_trainer",
    "linear_transformer",
    "load",
    "minibatches",
    "mnist",
    "modular",
    "power",
    "quadratic",
    "rare_classes",
    "reddi",
    "sparse",
    "text",
    "valley",
]

explain_calls(__name__)
