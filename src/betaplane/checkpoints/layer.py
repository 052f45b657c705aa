"""One tensor's state in a checkpoint, and what the checkpoint says of its optimizer."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from betaplane.checkpoints.torch_file import InertTensor
from betaplane.monitor.coded import Coded
from betaplane.optim.formats import BLOCK, SCALE, Companded, Dynamic, row

FIRST, SECOND = ("exp_avg", "m", "state1"), ("exp_avg_sq", "v", "state2")  # what the moments are called
ADAM = {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "mu_product", "compensation", "average"}
CODED = {"state1", "state2", "qmap1", "qmap2", "absmax1", "absmax2"}  # the same of bitsandbytes
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Settings(NamedTuple):
    """What a checkpoint says of its optimizer; None where it does not."""

    lr: float | None = None
    beta1: float | None = None  # in [0, 1)
    beta2: float | None = None  # in [0, 1)
    eps: float | None = None  # gradient units
    weight_decay: float | None = None  # as in torch
    storage: str = "parameter"
    relative: bool = False  # whether it is a rule that means something else by the same words


@dataclass(frozen=True)
class Layer:
    """One tensor's state."""

    name: str
    held: Mapping[str, Any]  # by the words it was saved under
    settings: Settings

    @property
    def t(self) -> float | None:
        """Steps taken; None where the state does not count them."""
        found = self.held.get("step")
        return None if found is None else _number(found, f"step of {self.name!r}")

    @property
    def m(self) -> Tensor | None:
        """The first moment, gradient units."""
        return self._moment(FIRST)

    @property
    def v(self) -> Tensor | None:
        """The second moment, gradient units squared."""
        return self._moment(SECOND)

    @property
    def dtype(self) -> str:
        """How the moments are kept."""
        word = next((word for word in (*SECOND, *FIRST) if word in self.held), None)
        if word is None:
            return ""
        kept = str(self.held[word].dtype).removeprefix("torch.")
        ours = kept == "uint8" and word + SCALE in self.held
        return "8bit" if ours or self.coded(word) else kept

    @property
    def bytes(self) -> int:
        """Of all tensors kept."""
        parts = [y for x in self.held.values() for y in (vars(x).values() if isinstance(x, InertTensor) else [x])]
        return sum(x.numel() * x.element_size() for x in parts if isinstance(x, Tensor))

    @property
    def adam(self) -> bool:
        """Whether the state is Adam's and no relative's, which may mean something else by m."""
        words = {word.removesuffix(SCALE) for word, x in self.held.items() if isinstance(x, Tensor)}
        known = {"exp_avg", "exp_avg_sq"} <= words <= ADAM or {"state1", "state2"} <= words <= {"step", *CODED}
        return known and not self.settings.relative

    def coded(self, word: str) -> Coded | None:
        """A moment in the codes of torchao or bitsandbytes; None where it is in none."""
        kept, last = self.held[word], word[-1]
        if isinstance(kept, InertTensor):
            return Coded(kept.codes, kept.qmap, kept.scale, block=kept.block_size)  # pyright: ignore
        if f"qmap{last}" in self.held:
            return Coded(kept, self.held[f"qmap{last}"], self.held.get(f"absmax{last}"))  # pyright: ignore
        return None

    def _moment(self, words: Sequence[str]) -> Tensor | None:
        word = next((word for word in words if isinstance(self.held.get(word), Tensor)), None)
        if word is None:
            return None
        kept, scale, coded = self.held[word], self.held.get(word + SCALE), self.coded(word)
        if coded:
            return _decoded(coded)
        if kept.dtype in FLOATS:
            return kept
        if scale is None or kept.dtype != torch.uint8:
            return None
        form = Dynamic if self.settings.storage.startswith("dynamic") else Companded
        return form(signed=word in FIRST).decode(kept, scale)


def _decoded(coded: Coded) -> Tensor:
    return coded.at(torch.arange(coded.codes.numel())).view(coded.codes.shape)


def settings(group: Mapping[str, Any]) -> Settings:
    """The settings of a param group."""
    betas = group.get("betas") or (group.get("beta1"), group.get("beta2"))
    if not isinstance(betas, list | tuple):
        raise ValueError(f"betas is {_short(betas)}, allowed two numbers")
    beta1, beta2 = betas if len(betas) == 2 else (None, None)  # of three, each rule means something else
    told = {"beta1": beta1, "beta2": beta2, **{name: group.get(name) for name in ("lr", "eps", "weight_decay")}}
    if isinstance(told["eps"], list | tuple):  # of two, Adafactor means something else
        del told["eps"]
    numbers = {name: _number(x, name) for name, x in told.items() if x is not None}
    for name in ("beta1", "beta2"):
        if not 0 <= numbers.get(name, 0.0) < 1:
            raise ValueError(f"{name} is {numbers[name]:g}, allowed [0, 1)")
    relative = "eps_at" in group and "amsgrad" not in group  # a rule of betaplane's that torch does not have
    return Settings(**numbers, storage=str(group.get("storage", "parameter")), relative=relative)


def checked(layer: Layer) -> Layer:
    """A layer whose step is one number, and whose moments are dense tensors with scales that fit."""
    _ = layer.t
    for word in (*FIRST, *SECOND):
        if isinstance(layer.held.get(word), Tensor):
            _check_moment(layer, word)
    return layer


def _check_moment(layer: Layer, word: str) -> None:
    name, kept, scale = f"{word} of {layer.name!r}", layer.held[word], layer.held.get(word + SCALE)
    if coded := layer.coded(word):
        parts = zip(("codes", "map", "scales"), coded, strict=False)
        codes, table, scale = (_dense(x, f"{part} of {name}") for part, x in parts)
        blocks, told = -(-codes.numel() // coded.block), f"{codes.dtype} codes, {scale.numel()} scales"
        if codes.dtype != torch.uint8 or table.numel() < 256 or scale.numel() < blocks:
            raise ValueError(f"{name} has {told}, a map of {table.numel()}, allowed torch.uint8, {blocks}, 256")
    elif _dense(kept, name).dtype == torch.uint8 and scale is not None:
        length = row(kept.shape)
        shape = (kept.numel() // length, -(-length // BLOCK))
        if tuple(_dense(scale, f"scales of {name}").shape) != shape or not scale.is_floating_point():
            raise ValueError(f"the scales of {name} are {tuple(scale.shape)} {scale.dtype}, allowed {shape} floats")


def _dense(x: Any, name: str) -> Tensor:
    """What holds numbers in order, on the CPU."""
    if not isinstance(x, Tensor):
        raise ValueError(f"{name} is a {type(x).__name__}, allowed a tensor")
    if x.is_nested or x.layout != torch.strided or x.is_meta:
        kind = "nested" if x.is_nested else "on meta" if x.is_meta else str(x.layout).removeprefix("torch.")
        raise ValueError(f"{name} is {kind}, allowed a dense tensor with numbers")
    return x


def _number(x: Any, name: str) -> float:
    try:
        return float(x)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise ValueError(f"{name} is {_short(x)}, allowed one number") from None


def _short(x: Any) -> str:
    return " ".join(reprlib.repr(x).split())
