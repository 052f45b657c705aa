"""Find where Adam converges on your problem: the public names, loaded when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from betaplane.errors import BadInput
    from betaplane.figures import html, png
    from betaplane.maps import PhaseMap, Plan, Store, axis, map_phases
    from betaplane.problems import Problem, Trainer, load
    from betaplane.replicas import Options, Run, train_plain, train_stacked
    from betaplane.rules import SGD, Adagrad, Adam, AdamW, AMSGrad, RMSprop

__version__ = "0.1.0"

_HOMES = {
    "betaplane.errors": ("BadInput",),
    "betaplane.figures": ("html", "png"),
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
    "html",
    "load",
    "map_phases",
    "png",
    "train_plain",
    "train_stacked",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'betaplane' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    if _HOME[name] == "betaplane.maps":
        _draw_in_notebooks()
    globals()[name] = value
    return value


def _draw_in_notebooks() -> None:
    """Maps may not import figures, so the roof joins them: a PhaseMap shows itself in a notebook."""
    from betaplane.maps.phase_map import PhaseMap

    def _repr_html_(phase_map: PhaseMap) -> str:
        from betaplane.figures import repr_html

        return repr_html(phase_map)

    PhaseMap._repr_html_ = _repr_html_  # pyright: ignore[reportAttributeAccessIssue]


def __dir__() -> list[str]:
    return __all__
