"""Update rules, one per file: hyperparameters as fields, `init` and `step` as pure functions."""

from betaplane.call_errors import explain_calls
from betaplane.errors import unknown
from betaplane.rules._rule import Laws, Range, Rule, State
from betaplane.rules._state_size import StateSize, state_size
from betaplane.rules.adabelief import AdaBelief
from betaplane.rules.adafactor import Adafactor
from betaplane.rules.adagrad import Adagrad
from betaplane.rules.adam import Adam
from betaplane.rules.adamatan2 import AdamAtan2
from betaplane.rules.adamax import Adamax
from betaplane.rules.adamc import AdamC
from betaplane.rules.adamd import AdamD
from betaplane.rules.adammini import AdamMini
from betaplane.rules.adamw import AdamW
from betaplane.rules.adan import Adan
from betaplane.rules.ademamix import AdEMAMix
from betaplane.rules.adopt import ADOPT
from betaplane.rules.amsgrad import AMSGrad
from betaplane.rules.cautiousadamw import CautiousAdamW
from betaplane.rules.laprop import LaProp
from betaplane.rules.lion import Lion
from betaplane.rules.nadam import NAdam
from betaplane.rules.radam import RAdam
from betaplane.rules.rmsprop import RMSprop
from betaplane.rules.sgd import SGD
from betaplane.rules.sophia import Sophia
from betaplane.rules.stableadamw import StableAdamW
from betaplane.rules.yogi import Yogi

__all__ = [
    "ADOPT",
    "ALL",
    "NAMES",
    "SGD",
    "AMSGrad",
    "AdEMAMix",
    "AdaBelief",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamAtan2",
    "AdamC",
    "AdamD",
    "AdamMini",
    "AdamW",
    "Adamax",
    "Adan",
    "CautiousAdamW",
    "LaProp",
    "Laws",
    "Lion",
    "NAdam",
    "RAdam",
    "RMSprop",
    "Range",
    "Rule",
    "Sophia",
    "StableAdamW",
    "State",
    "StateSize",
    "Yogi",
    "by_name",
    "state_size",
]

ALL: tuple[type[Rule], ...] = (
    SGD,
    Adagrad,
    RMSprop,
    Adam,
    AdamW,
    AMSGrad,
    Lion,
    Sophia,
    AdamMini,
    AdEMAMix,
    Adafactor,
    StableAdamW,
    CautiousAdamW,
    AdamC,
    ADOPT,
    Yogi,
    AdaBelief,
    Adan,
    Adamax,
    NAdam,
    RAdam,
    AdamD,
    LaProp,
    AdamAtan2,
)
NAMES: tuple[str, ...] = tuple(rule.__name__.lower() for rule in ALL)


def by_name(name: str) -> type[Rule]:
    """The class of rules whose name in lower case is `name`.

    Args:
        name: one of `NAMES`.

    Raises:
        BadInput: for any other name.

    Example:
        >>> by_name("adamw")(beta2=0.95)
        AdamW(beta1=0.9, beta2=0.95, eps=1e-08, weight_decay=0.01)
    """
    if name not in NAMES:
        raise unknown("rule", name, NAMES, where="rules", instead='by_name("{}")')
    return ALL[NAMES.index(name)]


explain_calls(__name__, methods=False)
