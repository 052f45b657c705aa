"""One tensor's state in a checkpoint, and the settings of its optimizer."""

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

# state keys of the moments
FIRST, SECOND = ("exp_avg", "m", "state1"), ("exp_avg_sq", "v", "state2")
ADAM = {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "mu_product", "compensation", "average"}
ADAM_OPTIONS = {
    "eps_at": "after",
    "debias": "both",
    "clip": float("inf"),
    "cautious": "off",
    "eps_root": 0.0,
    "caution": False,
}
# options of rules whose moments have Adam's names but that step differently: NAdam, LAMB, Prodigy,
# ...
OPTIONS_OF_OTHER_RULES = {
    "momentum_decay", "max_coeff", "use_nvlamb", "grad_averaging", "always_adapt", "trust_clip", "rectify", "d_coef",
    "d0", "weight_lr_power", "r", "weight_decouple", "degenerated_to_sgd", "hessian_power", "adanorm", "rho",
}  # fmt: skip
BNB_KEYS = {"state1", "state2", "qmap1", "qmap2", "absmax1", "absmax2"}  # of bitsandbytes
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class GroupSettings(NamedTuple):
    """Settings of a param group; None if the checkpoint lacks them."""

    lr: float | None = None
    beta1: float | None = None  # in [0, 1)
    beta2: float | None = None  # in [0, 1)
    eps: float | None = None  # gradient units
    weight_decay: float | None = None  # as in torch
    storage: str = "parameter"
    relative: bool = False  # whether another rule uses the same state keys with other meanings
    corrected: bool = True  # whether the rule has bias correction


@dataclass(frozen=True)
class Layer:
    """One tensor's state."""

    name: str
    held: Mapping[str, Any]  # the state, by its keys in the file
    settings: GroupSettings
    numbered: bool = False  # whether the file has a number instead of a name
    optimizer: str = ""  # the optimizer's place in the file; "" if there is one

    @property
    def t(self) -> float | None:
        """Steps taken; None if the state has no step count."""
        step = self.held.get("step")
        return None if step is None else _number(step, f"step of {self.name!r}")

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
        """The dtype of the moments; "8bit" or "4bit" if quantized, "" if there are none."""
        key = next((key for key in (*SECOND, *FIRST) if self.held.get(key) is not None), None)
        if key is None:
            return ""
        dtype = str(getattr(self.held[key], "dtype", "objects")).removeprefix("torch.")
        has_scale = dtype == "uint8" and key + SCALE in self.held
        quantized = self.quantized(key)
        if quantized and isinstance(quantized.table, Tensor) and quantized.table.numel() == 16:
            return "4bit"
        return "8bit" if has_scale or quantized else dtype

    @property
    def bytes(self) -> int:
        """Bytes of all tensors of the state."""
        tensors: list[Any] = []
        for value in self.held.values():
            tensors += vars(value).values() if isinstance(value, InertTensor) else [value]
        return sum(x.numel() * x.element_size() for x in tensors if isinstance(x, Tensor))

    @property
    def adam(self) -> bool:
        """Whether the state is Adam's, and not that of a related rule with other meanings of m."""
        tensors = {key for key, x in self.held.items() if isinstance(x, Tensor | InertTensor)}
        keys = {key.removesuffix(SCALE) for key in tensors}
        is_torch = {"exp_avg", "exp_avg_sq"} <= keys <= ADAM
        is_bnb = {"state1", "state2"} <= keys <= {"step", *BNB_KEYS}
        return (is_torch or is_bnb) and not self.settings.relative

    @property
    def largest_v(self) -> Tensor | None:
        """The v in the denominator of the update: with amsgrad, the largest v so far."""
        return self._moment(("max_exp_avg_sq",)) if "max_exp_avg_sq" in self.held else self.v

    def quantized(self, key: str) -> Quantized | None:
        """A moment that torchao or bitsandbytes quantized; None if it is not quantized so."""
        value, number = self.held[key], key[-1]
        if isinstance(value, InertTensor):
            return _of_torchao(value)
        if f"qmap{number}" in self.held:
            return Quantized(value, self.held[f"qmap{number}"], self.held.get(f"absmax{number}"))  # pyright: ignore
        return None

    def _moment(self, keys: Sequence[str]) -> Tensor | None:
        tensors = (key for key in keys if isinstance(self.held.get(key), Tensor | InertTensor))
        key = next(tensors, None)
        if key is None:
            return None
        value, scale = self.held[key], self.held.get(key + SCALE)
        if quantized := self.quantized(key):
            return _dequantized(quantized)
        if value.dtype in FLOATS:
            return value
        if scale is None or value.dtype != torch.uint8:
            return None
        form = Dynamic if self.settings.storage.startswith("dynamic") else Companded
        return form(signed=key in FIRST).decode(value, scale)


def _of_torchao(value: Any) -> Quantized:
    """A moment of torchao: 8-bit codes, two 4-bit codes per byte, or float8 without a table."""
    codes, scale, block = value.codes, value.scale, value.block_size
    if hasattr(value, "_shape"):
        codes = torch.stack([codes >> 4, codes & 15], -1).view(value._shape)
    if hasattr(value, "qmap"):
        return Quantized(codes, value.qmap, scale, block=block)
    table = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
    return Quantized(codes.view(torch.uint8), table, scale, block=block)


def _dequantized(quantized: Quantized) -> Tensor:
    return quantized.at(torch.arange(quantized.codes.numel())).view(quantized.codes.shape)


def settings(group: Mapping[str, Any]) -> GroupSettings:
    """The settings of a param group."""
    betas = group.get("betas") or (group.get("beta1"), group.get("beta2"))
    if not isinstance(betas, list | tuple):
        raise ValueError(f"betas is {short(betas)}, expected two numbers")
    # three betas have another meaning in each rule
    beta1, beta2 = betas if len(betas) == 2 else (None, None)
    values = {name: group.get(name) for name in ("lr", "eps", "weight_decay")}
    values |= {"beta1": beta1, "beta2": beta2}
    if isinstance(values["eps"], list | tuple):  # a pair has another meaning, in Adafactor
        del values["eps"]
    numbers = {name: _number(x, name) for name, x in values.items() if x is not None}
    for name in ("beta1", "beta2"):
        if not 0 <= numbers.get(name, 0.0) < 1:
            raise ValueError(f"{name} is {numbers[name]:g}, expected [0, 1)")
    storage = group.get("storage", "parameter")
    corrected = group.get("bias_correction", group.get("correct_bias", True))
    return GroupSettings(
        **numbers,
        storage=storage if isinstance(storage, str) else "parameter",
        relative=_is_relative(group),
        corrected=bool(corrected),
    )


def _is_relative(group: Mapping[str, Any]) -> bool:
    """Whether a group belongs to a rule or variant that uses m and v differently from Adam."""
    is_adam = "amsgrad" in group
    betaplane_rule = "eps_at" in group and not is_adam  # torch has no such option
    torch_options = ("foreach", "capturable", "differentiable", "maximize")
    torch_rule = not is_adam and not group.keys().isdisjoint(torch_options)
    variant = any(group.get(name, default) != default for name, default in ADAM_OPTIONS.items())
    other_rule = not group.keys().isdisjoint(OPTIONS_OF_OTHER_RULES)
    mixed = bool(group.get("alpha"))  # weight of the slow moment of AdEMAMix; 0 in bitsandbytes
    return betaplane_rule or torch_rule or variant or other_rule or mixed


def checked(layer: Layer) -> Layer:
    """The layer, if its step is one number and its moments are dense tensors with matching scales.

    Raises:
        ValueError: they are not.
    """
    _ = layer.t
    for key, x in layer.held.items():
        if isinstance(x, Tensor):
            _dense(x, f"{short(key)} of {layer.name!r}")
    for key in (*FIRST, *SECOND):
        value = layer.held.get(key)
        # "m" and "v" may be keys of anything; they are checked only if they are tensors
        if value is not None and (len(key) > 1 or isinstance(value, Tensor)):
            _check_moment(layer, key)
    return layer


def _check_moment(layer: Layer, key: str) -> None:
    name, value = f"{key} of {layer.name!r}", layer.held[key]
    scale = layer.held.get(key + SCALE)
    if quantized := layer.quantized(key):
        _check_quantized(quantized, name)
    elif _dense(value, name).dtype == torch.uint8 and scale is not None:
        length = row_length(value.shape)
        expected = (value.numel() // length, -(-length // BLOCK))
        shape = tuple(_dense(scale, f"scales of {name}").shape)
        if shape != expected or not scale.is_floating_point():
            raise ValueError(
                f"the scales of {name} are {shape} {scale.dtype}, expected {expected} floats"
            )


def _check_quantized(quantized: Quantized, name: str) -> None:
    parts = zip(("codes", "map", "scales"), quantized, strict=False)
    codes, table, scale = (_dense(x, f"{part} of {name}") for part, x in parts)
    blocks = -(-codes.numel() // quantized.block)
    size = 16 if table.numel() == 16 and bool((codes < 16).all()) else 256
    if codes.dtype != torch.uint8 or table.numel() < size or scale.numel() < blocks:
        sizes = f"{codes.dtype} codes, {scale.numel()} scales, a map of {table.numel()}"
        raise ValueError(f"{name} has {sizes}, expected torch.uint8, {blocks}, 256")


def _dense(x: Any, name: str) -> Tensor:
    """The value, if it is a dense tensor on the CPU."""
    if isinstance(x, Unreadable):
        raise ValueError(f"{name} is {x.kind}, expected a dense tensor with numbers")
    if not isinstance(x, Tensor):
        raise ValueError(f"{name} is a {type(x).__name__}, expected a tensor")
    if x.numel() > x.untyped_storage().nbytes() // x.element_size():
        raise ValueError(f"{name} has {x.numel():,} elements, more than are stored")
    return x


def _number(x: Any, name: str) -> float:
    try:
        return float(x)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise ValueError(f"{name} is {short(x)}, expected one number") from None


def short(x: Any) -> str:
    """A value as one line of text; large or nested values are abbreviated."""
    try:
        return " ".join(reprlib.repr(x).split())
    except (
        Exception
    ):  # the digits of a number with thousands of them, or whatever torch cannot print
        return f"a {type(x).__name__}"
