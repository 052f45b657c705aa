"""Callbacks that watch what Hugging Face's Trainer and Lightning train; their packages are loaded
with the first use.

`HuggingFaceWatch` is `huggingface.Events` as a `transformers.TrainerCallback`, and `LightningWatch`
is `lightning.Events` as a `lightning.pytorch.Callback` (or `pytorch_lightning.Callback`, where only
that is installed).
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from betaplane.errors import BadInput
from betaplane.monitor.callbacks import huggingface, lightning

KNOWN = {  # the events, where their base may be found, its name, what to install
    "HuggingFaceWatch": (huggingface.Events, ("transformers",), "TrainerCallback", "hf"),
    "LightningWatch": (
        lightning.Events,
        ("lightning.pytorch", "pytorch_lightning"),
        "Callback",
        "lightning",
    ),
}


def __getattr__(name: str) -> Any:
    if name not in KNOWN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    events, homes, base, extra = KNOWN[name]
    told = {"__module__": __name__, "__qualname__": name, "__doc__": events.__doc__}
    kind = type(name, (events, getattr(_first(homes, extra), base)), told)
    globals()[name] = kind  # where pickle looks it up
    return kind


def _first(homes: tuple[str, ...], extra: str) -> Any:
    """The first of some modules that is installed."""
    for home in homes:
        if find_spec(home.partition(".")[0]) is not None:
            return import_module(home)
    told, install = (
        f"{homes[0].partition('.')[0]} is not installed",
        f"pip install 'betaplane[{extra}]'",
    )
    raise BadInput(told, where="betaplane.monitor", instead=install)
