"""Find where Adam converges on your problem: the public names, loaded when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from betaplane.errors import BadInput
    from betaplane.maps import PhaseMap, Plan, Store, axis, map_phases
    from betaplane.problems import Problem, Trainer, load
    from betaplane.replicas import Options, Run, train_plain, train_stacked
    from betaplane.rules import SGD, Adagrad, Adam, AdamW, AMSGrad, RMSprop

__version__ = "0.1.0"

_HOMES = {
    "betaplane.errors": ("BadInput",),
    "betaplane.maps": ("PhaseMap", "Plan", "Store", "axis", "map_phases"),
    "betaplane.problems": ("Problem", "Trainer", "load"),
    "betaplane.replicas": ("Options", "Run", "train_plain", "train_stacked"),
    "betaplane.rules": ("SGD", "AMSGrad", "Adagrad", "Adam", "AdamW", "RMSprop"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "SGD",
    "AMSGrad",
    "Adagrad",
    "Adam",
    "AdamW",
    "BadInput",
    "Options",
    "PhaseMap",
    "Plan",
    "Problem",
    "RMSprop",
    "Run",
    "Store",
    "Trainer",
    "axis",
    "load",
    "map_phases",
    "train_plain",
    "train_stacked",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'betaplane' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
