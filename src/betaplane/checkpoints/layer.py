"""One tensor's state in a checkpoint, and what the checkpoint says of its optimizer."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from betaplane.checkpoints.stored import InertTensor, Unreadable
from betaplane.monitor.capture.quantized import Quantized
from betaplane.optim.blocks import BLOCK, row_length
from betaplane.optim.storage_formats import SCALE, Companded, Dynamic

# what the moments are called
FIRST, SECOND = ("exp_avg", "m", "state1"), ("exp_avg_sq", "v", "state2")
ADAM = {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "mu_product", "compensation", "average"}
ADAMS = {
    "eps_at": "after",
    "debias": "both",
    "clip": float("inf"),
    "cautious": "off",
    "eps_root": 0.0,
    "caution": False,
}
# options of rules that keep moments of Adam's names and step otherwise: NAdam, LAMB, Prodigy and so
# on
OTHERS = {
    "momentum_decay", "max_coeff", "use_nvlamb", "grad_averaging", "always_adapt", "trust_clip", "rectify", "d_coef",
    "d0", "weight_lr_power", "r", "weight_decouple", "degenerated_to_sgd", "hessian_power", "adanorm", "rho", "alpha",
}  # fmt: skip
CODED = {"state1", "state2", "qmap1", "qmap2", "absmax1", "absmax2"}  # the same of bitsandbytes
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class GroupSettings(NamedTuple):
    """What a checkpoint says of its optimizer; None where it does not."""

    lr: float | None = None
    beta1: float | None = None  # in [0, 1)
    beta2: float | None = None  # in [0, 1)
    eps: float | None = None  # gradient units
    weight_decay: float | None = None  # as in torch
    storage: str = "parameter"
    relative: bool = False  # whether it is a rule that means something else by the same words
    corrected: bool = True  # whether the moments are divided by 1 - beta^t


@dataclass(frozen=True)
class Layer:
    """One tensor's state."""

    name: str
    held: Mapping[str, Any]  # by the words it was saved under
    settings: GroupSettings
    numbered: bool = False  # whether the file has a number for it instead of a name

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
        word = next((word for word in (*SECOND, *FIRST) if self.held.get(word) is not None), None)
        if word is None:
            return ""
        kept = str(getattr(self.held[word], "dtype", "objects")).removeprefix("torch.")
        ours = kept == "uint8" and word + SCALE in self.held
        return "8bit" if ours or self.coded(word) else kept

    @property
    def bytes(self) -> int:
        """Of all tensors kept."""
        parts = [
            y
            for x in self.held.values()
            for y in (vars(x).values() if isinstance(x, InertTensor) else [x])
        ]
        return sum(x.numel() * x.element_size() for x in parts if isinstance(x, Tensor))

    @property
    def adam(self) -> bool:
        """Whether the state is Adam's and no relative's, which may mean something else by m."""
        words = {
            word.removesuffix(SCALE)
            for word, x in self.held.items()
            if isinstance(x, Tensor | InertTensor)
        }
        known = {"exp_avg", "exp_avg_sq"} <= words <= ADAM or {"state1", "state2"} <= words <= {
            "step",
            *CODED,
        }
        return known and not self.settings.relative

    @property
    def largest_v(self) -> Tensor | None:
        """What takes the place of v in the update: under amsgrad the largest v so far."""
        return self._moment(("max_exp_avg_sq",)) if "max_exp_avg_sq" in self.held else self.v

    def coded(self, word: str) -> Quantized | None:
        """A moment in the codes of torchao or bitsandbytes; None where it is in none."""
        kept, last = self.held[word], word[-1]
        if isinstance(kept, InertTensor):
            return Quantized(kept.codes, kept.qmap, kept.scale, block=kept.block_size)  # pyright: ignore
        if f"qmap{last}" in self.held:
            return Quantized(kept, self.held[f"qmap{last}"], self.held.get(f"absmax{last}"))  # pyright: ignore
        return None

    def _moment(self, words: Sequence[str]) -> Tensor | None:
        word = next(
            (word for word in words if isinstance(self.held.get(word), Tensor | InertTensor)), None
        )
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


def _decoded(coded: Quantized) -> Tensor:
    return coded.at(torch.arange(coded.codes.numel())).view(coded.codes.shape)


def settings(group: Mapping[str, Any]) -> GroupSettings:
    """The settings of a param group."""
    betas = group.get("betas") or (group.get("beta1"), group.get("beta2"))
    if not isinstance(betas, list | tuple):
        raise ValueError(f"betas is {short(betas)}, allowed two numbers")
    # of three, each rule means something else
    beta1, beta2 = betas if len(betas) == 2 else (None, None)
    told = {
        "beta1": beta1,
        "beta2": beta2,
        **{name: group.get(name) for name in ("lr", "eps", "weight_decay")},
    }
    if isinstance(told["eps"], list | tuple):  # of two, Adafactor means something else
        del told["eps"]
    numbers = {name: _number(x, name) for name, x in told.items() if x is not None}
    for name in ("beta1", "beta2"):
        if not 0 <= numbers.get(name, 0.0) < 1:
            raise ValueError(f"{name} is {numbers[name]:g}, allowed [0, 1)")
    storage, corrected = (
        group.get("storage", "parameter"),
        group.get("bias_correction", group.get("correct_bias", True)),
    )
    return GroupSettings(
        **numbers,
        storage=storage if isinstance(storage, str) else "parameter",
        relative=_is_relative(group),
        corrected=bool(corrected),
    )


def _is_relative(group: Mapping[str, Any]) -> bool:
    """Whether a group is that of a rule, or a variant, that divides otherwise than Adam by m and v
    of the same name.
    """
    ours = "eps_at" in group and "amsgrad" not in group  # torch does not have these
    torchs = "amsgrad" not in group and not group.keys().isdisjoint(
        ("foreach", "capturable", "differentiable")
    )
    variant = any(group.get(name, usual) != usual for name, usual in ADAMS.items())
    return ours or torchs or variant or not group.keys().isdisjoint(OTHERS)


def checked(layer: Layer) -> Layer:
    """A layer whose step is one number, and whose moments are dense tensors with scales that fit.

    Raises:
        ValueError: it is none.
    """
    _ = layer.t
    for word, x in layer.held.items():
        if isinstance(x, Tensor):
            _dense(x, f"{short(word)} of {layer.name!r}")
    for word in (*FIRST, *SECOND):
        if layer.held.get(word) is not None and (
            len(word) > 1 or isinstance(layer.held[word], Tensor)
        ):
            _check_moment(layer, word)
    return layer


def _check_moment(layer: Layer, word: str) -> None:
    name, kept, scale = f"{word} of {layer.name!r}", layer.held[word], layer.held.get(word + SCALE)
    if coded := layer.coded(word):
        parts = zip(("codes", "map", "scales"), coded, strict=False)
        codes, table, scale = (_dense(x, f"{part} of {name}") for part, x in parts)
        blocks, told = (
            -(-codes.numel() // coded.block),
            f"{codes.dtype} codes, {scale.numel()} scales",
        )
        if codes.dtype != torch.uint8 or table.numel() < 256 or scale.numel() < blocks:
            raise ValueError(
                f"{name} has {told}, a map of {table.numel()}, allowed torch.uint8, {blocks}, 256"
            )
    elif _dense(kept, name).dtype == torch.uint8 and scale is not None:
        length = row_length(kept.shape)
        shape = (kept.numel() // length, -(-length // BLOCK))
        if (
            tuple(_dense(scale, f"scales of {name}").shape) != shape
            or not scale.is_floating_point()
        ):
            raise ValueError(
                f"the scales of {name} are {tuple(scale.shape)} {scale.dtype}, allowed {shape} floats"
            )


def _dense(x: Any, name: str) -> Tensor:
    """What holds numbers in order, on the CPU."""
    if isinstance(x, Unreadable):
        raise ValueError(f"{name} is {x.kind}, allowed a dense tensor with numbers")
    if not isinstance(x, Tensor):
        raise ValueError(f"{name} is a {type(x).__name__}, allowed a tensor")
    if x.numel() > x.untyped_storage().nbytes() // x.element_size():
        raise ValueError(f"{name} has {x.numel():,} elements, more than are stored")
    return x


def _number(x: Any, name: str) -> float:
    try:
        return float(x)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise ValueError(f"{name} is {short(x)}, allowed one number") from None


def short(x: Any) -> str:
    """A value in a sentence: one line, and not the whole of what is large or nested."""
    try:
        return " ".join(reprlib.repr(x).split())
    except (
        Exception
    ):  # the digits of a number with thousands of them, or whatever torch cannot print
        return f"a {type(x).__name__}"
