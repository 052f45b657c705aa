"""Update rules: one a file, each a frozen record of hyperparameters with two pure functions, init and step."""

from betaplane.errors import BadInput
from betaplane.rules._rule import Laws, Range, Rule, State
from betaplane.rules.adagrad import Adagrad
from betaplane.rules.adam import Adam
from betaplane.rules.adamw import AdamW
from betaplane.rules.amsgrad import AMSGrad
from betaplane.rules.rmsprop import RMSprop
from betaplane.rules.sgd import SGD

__all__ = [
    "ALL",
    "NAMES",
    "SGD",
    "AMSGrad",
    "Adagrad",
    "Adam",
    "AdamW",
    "Laws",
    "RMSprop",
    "Range",
    "Rule",
    "State",
    "by_name",
]

ALL: tuple[type[Rule], ...] = (SGD, Adagrad, RMSprop, Adam, AdamW, AMSGrad)
NAMES: tuple[str, ...] = tuple(rule.__name__.lower() for rule in ALL)


def by_name(name: str) -> type[Rule]:
    """The rule whose class name, in lower case, is `name`.

    Args:
        name: one of `NAMES`.

    Raises:
        BadInput: for any other name.

    Example:
        >>> by_name("adamw")(beta2=0.95)
        AdamW(beta1=0.9, beta2=0.95, eps=1e-08, weight_decay=0.01)
    """
    if name not in NAMES:
        allowed = ", ".join(NAMES)
        raise BadInput("The rule is unknown", value=name, allowed=allowed, where="rules", instead='by_name("adamw")')
    return ALL[NAMES.index(name)]
