"""Find where Adam converges on your problem: the public names, loaded when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from betaplane import _optimizers

if TYPE_CHECKING:
    from betaplane import advice as advice
    from betaplane import audit as audit
    from betaplane import checkpoints as checkpoints
    from betaplane import claims as claims
    from betaplane import errors as errors
    from betaplane import executors as executors
    from betaplane import figures as figures
    from betaplane import maps as maps
    from betaplane import monitor as monitor
    from betaplane import optim as optim
    from betaplane import problems as problems
    from betaplane import replay as replay
    from betaplane import replicas as replicas
    from betaplane import rules as rules
    from betaplane import theory as theory
    from betaplane._optimizers import *  # noqa: F403
    from betaplane.advice import Advice, advise, optuna_betas
    from betaplane.errors import BadInput
    from betaplane.figures import html, png
    from betaplane.maps import (
        OptunaBoundarySampler,
        PhaseMap,
        Plan,
        Store,
        axis,
        import_sweep,
        map_phases,
        predict_map,
        tune,
    )
    from betaplane.monitor import Watcher, watch
    from betaplane.optim import Schedule, from_torch
    from betaplane.problems import Command, Problem, Trainer, from_lightning, from_trainer, load
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
    "betaplane.maps": (
        "OptunaBoundarySampler",
        "PhaseMap",
        "Plan",
        "Store",
        "axis",
        "import_sweep",
        "map_phases",
        "predict_map",
        "tune",
    ),
    "betaplane.monitor": ("Watcher", "watch"),
    "betaplane.problems": (
        "Command",
        "Problem",
        "Trainer",
        "from_lightning",
        "from_trainer",
        "load",
    ),
    "betaplane.replay": (
        "Gradients",
        "Replay",
        "predicted",
        "record_gradients",
        "record_pass",
        "replay_gradients",
    ),
    "betaplane.replicas": ("Options", "Run", "train_plain", "train_stacked"),
    "betaplane.optim": (*_optimizers.__all__, "Schedule", "from_torch"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Advice",
    "BadInput",
    "Command",
    "Gradients",
    "Options",
    "OptunaBoundarySampler",
    "PhaseMap",
    "Plan",
    "Problem",
    "Replay",
    "Run",
    "Schedule",
    "Store",
    "Trainer",
    "Watcher",
    "advise",
    "axis",
    "from_lightning",
    "from_torch",
    "from_trainer",
    "html",
    "import_sweep",
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
__all__ += _optimizers.__all__


_PACKAGES = (
    "advice", "audit", "checkpoints", "claims", "errors", "executors", "figures", "maps",
    "monitor", "optim", "problems", "replay", "replicas", "rules", "theory",
)  # fmt: skip


if not TYPE_CHECKING:  # a type checker would take any name for an attribute

    def __getattr__(name: str) -> Any:
        """Import a public name, or a package, when it is first used."""
        if name in _PACKAGES:
            return import_module(f"betaplane.{name}")
        if name not in _HOME:
            raise AttributeError(f"module 'betaplane' has no attribute {name!r}")
        value = getattr(import_module(_HOME[name]), name)
        if _HOME[name] == "betaplane.maps":
            _draw_in_notebooks()
        globals()[name] = value
        return value


def _draw_in_notebooks() -> None:
    """Give PhaseMap its notebook display: maps may not import figures, which are on a higher layer."""
    from betaplane.maps.phase_map import PhaseMap

    def _repr_html_(phase_map: PhaseMap) -> str:
        from betaplane.figures import repr_html

        return repr_html(phase_map)

    PhaseMap._repr_html_ = _repr_html_  # pyright: ignore[reportAttributeAccessIssue]


def __dir__() -> list[str]:
    return [*__all__, *_PACKAGES]
