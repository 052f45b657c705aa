"""Find where Adam converges on your problem: the public names, loaded when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from betaplane.advice import Advice, advise, optuna_betas
    from betaplane.errors import BadInput
    from betaplane.figures import html, png
    from betaplane.maps import PhaseMap, Plan, Store, axis, map_phases, predict_map, tune
    from betaplane.monitor import Watcher, watch
    from betaplane.optim import (
        SGD,
        Adafactor,
        Adagrad,
        Adam,
        Adamax,
        AdamW,
        NAdam,
        RAdam,
        RMSprop,
        Schedule,
        from_torch,
    )
    from betaplane.problems import Problem, Trainer, load
    from betaplane.replay import (
        Gradients,
        Replay,
        predicted,
        record_gradients,
        record_pass,
        replay_gradients,
    )
    from betaplane.replicas import Options, Run, train_plain, train_stacked

__version__ = "0.1.0"

_HOMES = {
    "betaplane.advice": ("Advice", "advise", "optuna_betas"),
    "betaplane.errors": ("BadInput",),
    "betaplane.figures": ("html", "png"),
    "betaplane.maps": ("PhaseMap", "Plan", "Store", "axis", "map_phases", "predict_map", "tune"),
    "betaplane.monitor": ("Watcher", "watch"),
    "betaplane.problems": ("Problem", "Trainer", "load"),
    "betaplane.replay": (
        "Gradients",
        "Replay",
        "predicted",
        "record_gradients",
        "record_pass",
        "replay_gradients",
    ),
    "betaplane.replicas": ("Options", "Run", "train_plain", "train_stacked"),
    "betaplane.optim": (
        "SGD",
        "Adafactor",
        "Adagrad",
        "Adam",
        "AdamW",
        "Adamax",
        "NAdam",
        "RAdam",
        "RMSprop",
        "Schedule",
        "from_torch",
    ),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "SGD",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Advice",
    "BadInput",
    "Gradients",
    "NAdam",
    "Options",
    "PhaseMap",
    "Plan",
    "Problem",
    "RAdam",
    "RMSprop",
    "Replay",
    "Run",
    "Schedule",
    "Store",
    "Trainer",
    "Watcher",
    "advise",
    "axis",
    "from_torch",
    "html",
    "load",
    "map_phases",
    "optuna_betas",
    "png",
    "predict_map",
    "predicted",
    "record_gradients",
    "record_pass",
    "replay_gradients",
    "train_plain",
    "train_stacked",
    "tune",
    "watch",
]


_PACKAGES = (
    "advice", "audit", "checkpoints", "errors", "figures", "maps", "monitor",
    "optim", "problems", "replay", "replicas", "rules", "theory",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"betaplane.{name}")
    if name not in _HOME and not _is_optimizer(name):
        raise AttributeError(f"module 'betaplane' has no attribute {name!r}")
    home = _HOME.get(name, "betaplane.optim")
    value = getattr(import_module(home), name)
    if home == "betaplane.maps":
        _draw_in_notebooks()
    globals()[name] = value
    return value


def _is_optimizer(name: str) -> bool:
    """Whether it is an optimizer of the roll that is not named above: a new rule needs no line
    here.
    """
    return not name.startswith("_") and name in import_module("betaplane.optim").__all__


def _draw_in_notebooks() -> None:
    """Maps may not import figures, so the roof joins them: a PhaseMap shows itself in a notebook."""
    from betaplane.maps.phase_map import PhaseMap

    def _repr_html_(phase_map: PhaseMap) -> str:
        from betaplane.figures import repr_html

        return repr_html(phase_map)

    PhaseMap._repr_html_ = _repr_html_  # pyright: ignore[reportAttributeAccessIssue]


def __dir__() -> list[str]:
    return __all__
