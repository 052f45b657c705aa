"""Names of the optimizers: written by `python -m tools.stubs`, not by hand."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from betaplane.optim import ADOPT as ADOPT
    from betaplane.optim import AMSGrad as AMSGrad
    from betaplane.optim import AdEMAMix as AdEMAMix
    from betaplane.optim import AdaBelief as AdaBelief
    from betaplane.optim import Adafactor as Adafactor
    from betaplane.optim import Adagrad as Adagrad
    from betaplane.optim import Adam as Adam
    from betaplane.optim import AdamAtan2 as AdamAtan2
    from betaplane.optim import AdamC as AdamC
    from betaplane.optim import AdamD as AdamD
    from betaplane.optim import AdamMini as AdamMini
    from betaplane.optim import AdamW as AdamW
    from betaplane.optim import Adamax as Adamax
    from betaplane.optim import Adan as Adan
    from betaplane.optim import CautiousAdamW as CautiousAdamW
    from betaplane.optim import LaProp as LaProp
    from betaplane.optim import Lion as Lion
    from betaplane.optim import NAdam as NAdam
    from betaplane.optim import RAdam as RAdam
    from betaplane.optim import RMSprop as RMSprop
    from betaplane.optim import SGD as SGD
    from betaplane.optim import Sophia as Sophia
    from betaplane.optim import StableAdamW as StableAdamW
    from betaplane.optim import Yogi as Yogi

__all__ = [
    "ADOPT",
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
    "Lion",
    "NAdam",
    "RAdam",
    "RMSprop",
    "SGD",
    "Sophia",
    "StableAdamW",
    "Yogi",
]
