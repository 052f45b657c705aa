"""Callbacks for Hugging Face's Trainer and for Lightning, whose packages are imported on first use.

`HuggingFaceWatch` is `huggingface.HuggingFaceWatch` as a `transformers.TrainerCallback`.
`LightningWatch` is `lightning.LightningWatch` as a `lightning.pytorch.Callback`, or as a
`pytorch_lightning.Callback` if only that package is installed.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from betaplane.errors import not_installed
from betaplane.monitor.callbacks import huggingface, lightning
from betaplane.monitor.callbacks.base import WatchCallback


class _Host(NamedTuple):
    callback: type[WatchCallback]
    modules: tuple[str, ...]  # the first one that is installed has the base class
    base: str
    extra: str  # of this package, installs the host


HOSTS = {
    "HuggingFaceWatch": _Host(
        huggingface.HuggingFaceWatch, ("transformers",), "TrainerCallback", "hf"
    ),
    "LightningWatch": _Host(
        lightning.LightningWatch,
        ("lightning.pytorch", "pytorch_lightning"),
        "Callback",
        "lightning",
    ),
}


def __getattr__(name: str) -> Any:
    if name not in HOSTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    host = HOSTS[name]
    base = getattr(_import_first(host.modules, host.extra), host.base)
    attributes = {
        "__module__": __name__,
        "__qualname__": name,
        "__doc__": host.callback.__doc__,
    }
    callback_class = type(name, (host.callback, base), attributes)
    globals()[name] = callback_class  # so that pickle finds it
    return callback_class


def _import_first(modules: tuple[str, ...], extra: str) -> Any:
    """The first of some modules that is installed."""
    for module in modules:
        if find_spec(module.partition(".")[0]) is not None:
            return import_module(module)
    package = modules[0].partition(".")[0]
    raise not_installed(package, extra, "betaplane.monitor")
