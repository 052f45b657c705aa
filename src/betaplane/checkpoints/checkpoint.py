"""The optimizer state in a checkpoint on disk, whoever wrote it: found by its structure, not by its name."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from betaplane.checkpoints import dcp
from betaplane.checkpoints.torch_file import InertTensor, damaged, read
from betaplane.monitor.coded import Coded
from betaplane.optim.formats import BLOCK, SCALE, Companded, Dynamic, row

FIRST, SECOND = ("exp_avg", "m", "state1"), ("exp_avg_sq", "v", "state2")  # what the moments are called
DEEP = 6  # how many levels down a state dict may lie
ADAM = {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "mu_product", "compensation", "average"}
CODED = {"state1", "state2", "qmap1", "qmap2", "absmax1", "absmax2"}  # the same of bitsandbytes
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
NESTED = "__bnb_optimizer_quant_state__"  # where bitsandbytes puts the moments
FILES = ("optimizer.pt", "optimizer.bin", "optimizer.safetensors")  # in a folder
ASKED = "a state dict, optimizer.pt, .ckpt, DCP folder, ZeRO shards or safetensors with Adam's moments"


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


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds of an optimizer."""

    path: str
    kind: str
    layers: tuple[Layer, ...]


def read_checkpoint(path: str | Path, betas: tuple[float, float] | None = None, eps: float | None = None) -> Checkpoint:
    """Read the optimizer state in a file or folder; nothing in it is run.

    Understood are torch's state dicts, alone or anywhere in a dict (Hugging Face's optimizer.pt, Lightning's .ckpt),
    folders of torch.distributed.checkpoint, DeepSpeed's ZeRO shards (a file or their folder), and safetensors whose
    names contain those of the moments. 8-bit states are decoded: betaplane's, bitsandbytes' and torchao's.

    Args:
        path: of the file or folder.
        betas: those it was trained with, each in [0, 1), where the file does not say.
        eps: the same, >= 0, gradient units.

    Returns:
        Its layers; tensors stay on disk where the format allows.

    Raises:
        BadInput: it is missing, damaged, would run code, or holds no moments.

    Example:
        >>> import tempfile
        >>> x = torch.nn.Parameter(torch.ones(4))
        >>> optimizer = torch.optim.Adam([("x", x)], betas=(0.9, 0.99))
        >>> x.grad = torch.ones(4)
        >>> optimizer.step()
        >>> with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        ...     torch.save({"epoch": 3, "optimizer": optimizer.state_dict()}, file.name)
        ...     (layer,) = read_checkpoint(file.name).layers
        >>> layer.name, layer.t, layer.settings.beta2, layer.dtype
        ('x', 1.0, 0.99, 'float32')
    """
    path = Path(path)
    kind, held = _opened(path)
    try:
        layers = [_checked(layer) for layer in _found(held) if layer.dtype]
    except Exception as error:  # a file can hold anything under the names we look for
        told = str(error) if isinstance(error, ValueError) else type(error).__name__
        raise damaged(path, f"The state in this file is not laid out as an optimizer's ({told})") from None
    if not layers:
        raise damaged(path, "The file holds no state of an Adam-type optimizer")
    return Checkpoint(str(path), kind, tuple(_with(layer, betas, eps) for layer in layers))


def _with(layer: Layer, betas: tuple[float, float] | None, eps: float | None) -> Layer:
    """The layer with settings that its file leaves open."""
    s = layer.settings
    if s.beta1 is None and betas is not None:
        s = s._replace(beta1=betas[0], beta2=betas[1])
    return replace(layer, settings=s._replace(eps=eps) if s.eps is None else s)


# What lies on the disk


def _opened(path: Path) -> tuple[str, Any]:
    """What kind of checkpoint it is, and what is in it."""
    if path.is_dir():
        return _folder(path)
    if path.name == dcp.INDEX and path.is_file():
        return "torch.distributed.checkpoint", dcp.read_folder(path.parent)
    if path.suffix == ".safetensors":
        return "safetensors", _safetensors(path)
    held = read(path)
    kinds = {"optimizer_states": "Lightning", "base_optimizer_state": "DeepSpeed ZeRO"}
    inner = held.get("optimizer_state_dict", held) if isinstance(held, Mapping) else {}
    keys = {*(held if isinstance(held, Mapping) else ()), *(inner if isinstance(inner, Mapping) else ())}
    return next((kind for key, kind in kinds.items() if key in keys), "torch"), held


def _folder(path: Path) -> tuple[str, Any]:
    if (path / dcp.INDEX).is_file():
        return "torch.distributed.checkpoint", dcp.read_folder(path)
    shards = sorted(path.glob("*optim_states.pt")) or sorted(path.glob("*/*optim_states.pt"))
    if len({shard.parent for shard in shards}) == 1:
        return "DeepSpeed ZeRO", [read(shard) for shard in shards]
    inside = next((path / name for name in FILES if (path / name).is_file()), None)
    inside = inside or next((found.parent for found in sorted(path.glob(f"*/{dcp.INDEX}"))), None)
    if inside is None:
        raise damaged(path, "The folder holds no checkpoint, or several")
    return _opened(inside)


def _safetensors(path: Path) -> Any:
    """The tensors by name, and the settings in the metadata, as one flat state."""
    if not path.is_file():
        raise damaged(path, "There is no such checkpoint")
    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise damaged(path, f"This is no whole safetensors file ({type(error).__name__})") from None
    return {"flat": tensors, "group": {name: _json(text) for name, text in told.items()}}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


# What the state looks like


def _found(held: Any, deep: int = 0) -> Iterator[Layer]:
    """The layers of every state dict in a nest of dicts and lists."""
    if isinstance(held, Mapping):
        flat = _nested(held)
        if flat["param_groups"]:
            yield from _of_state_dict(flat)
        if "state" in held and "param_groups" in held and isinstance(held["state"], Mapping):
            yield from _of_state_dict(held)
            return
        if "base_optimizer_state" in held:
            yield from _of_zero(held)
            return
        if "flat" in held and "group" in held:
            yield from _of_flat(held["flat"], held["group"])
            return
    children = held.values() if isinstance(held, Mapping) else held if isinstance(held, list | tuple) else ()
    shapes = _shapes(held)
    for child in children if deep < DEEP else ():
        yield from _named(list(_found(child, deep + 1)), shapes)


def _of_state_dict(held: Mapping[str, Any]) -> Iterator[Layer]:
    """The layers of torch's state dict; parameters are numbers or names."""
    groups = held["param_groups"]
    owner: dict[str, tuple[str, Settings]] = {}
    for group in groups.values() if isinstance(groups, Mapping) else groups:
        ids = group.get("params", ())
        names = group.get("param_names") or ids
        owner |= {str(i): (str(name), settings(group)) for i, name in zip(ids, names, strict=True)}
    for i, state in held["state"].items():
        if isinstance(state, Mapping):
            name, told = owner.get(str(i), (str(i), Settings()))
            yield Layer(name, {**state, **state.get(NESTED, {})}, told)


def _nested(held: Mapping[Any, Any]) -> dict[str, Any]:
    """A flattened state dict as torch nests it: of "state.0.weight.exp_avg" the parameter is "0.weight"."""
    tops: dict[str, dict[str, dict[str, Any]]] = {"state": {}, "param_groups": {}}
    for key, value in held.items():
        top, _, place = str(key).partition(".")
        name, _, word = place.rpartition(".")
        if top in tops and name:
            tops[top].setdefault(name, {})[word] = value
    groups = [{**group, "params": [name], "param_names": [name]} for name, group in tops["param_groups"].items()]
    return {"state": tops["state"], "param_groups": groups}


def _of_zero(held: Mapping[str, Any]) -> Iterator[Layer]:
    """The layers of one process's shard: flat groups, cut at the places where parameters begin."""
    base, pads = held["base_optimizer_state"], held.get("group_paddings") or []
    elastic = not isinstance(base, Mapping)
    states = base if elastic else list(base.get("state", {}).values())
    told = [settings(group) for group in () if elastic] or [settings(g) for g in _groups(base)]
    step = held.get("base_optimizer_state_step")
    for i, state in enumerate(states):
        state = {**({} if step is None else {"step": step}), **state}
        cuts = (held.get("param_slice_mappings") or [{}] * (i + 1))[i]
        whole = Layer(f"group {i}", state, told[i] if i < len(told) else Settings())
        yield from _cut(whole, cuts, 0 if elastic or i >= len(pads) else int(pads[i]))


def _groups(base: Any) -> list[Mapping[str, Any]]:
    return list(base.get("param_groups", ())) if isinstance(base, Mapping) else []


def _cut(layer: Layer, cuts: Mapping[str, Any], pad: int) -> Iterator[Layer]:
    flat = {word: x for word, x in layer.held.items() if isinstance(x, Tensor) and x.dim()}
    length = max((x.numel() for x in flat.values()), default=0) - pad
    places = {name: (at.start, at.start + at.numel) for name, at in cuts.items() if hasattr(at, "numel")}
    for name, (start, end) in (places or {layer.name: (0, length)}).items():
        yield replace(layer, name=name, held={**layer.held, **{word: x[start:end] for word, x in flat.items()}})


def _of_flat(tensors: Mapping[str, Tensor], group: Mapping[str, Any]) -> Iterator[Layer]:
    """The layers of tensors under names such as "state.0.exp_avg" or "exp_avg.lm_head.weight"."""
    states: dict[str, dict[str, Any]] = {}
    for name, x in tensors.items():
        parts = name.split(".")
        word = next((p for p in (parts[-1], parts[0]) if p.removesuffix(SCALE) in {*ADAM, *FIRST, *SECOND}), None)
        if word:
            parts.remove(word)
            states.setdefault(".".join(parts) or "x", {})[word] = x
    shared = states.pop("x", {}) if set(states.get("x", {})) == {"step"} else {}
    for name, state in states.items():
        if not set(state) <= {"step"}:
            yield Layer(name.removeprefix("state."), {**shared, **state}, settings(group))


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


def _number(x: Any, name: str) -> float:
    try:
        return float(x)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise ValueError(f"{name} is {_short(x)}, allowed one number") from None


def _short(x: Any) -> str:
    return " ".join(reprlib.repr(x).split())


def _checked(layer: Layer) -> Layer:
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


def _shapes(held: Any) -> list[dict[str, Any]]:
    """The models beside a state dict: names with shapes, in order."""
    inside = held.values() if isinstance(held, Mapping) else ()
    models = [x for x in inside if isinstance(x, Mapping) and x and all(isinstance(y, Tensor) for y in x.values())]
    return [{name: x.shape for name, x in model.items() if x.is_floating_point()} for model in models]


def _named(layers: list[Layer], models: list[dict[str, Any]]) -> list[Layer]:
    """The layers by the names of a model with the same shapes in the same order, where theirs are only numbers."""
    moments = [next((x.held[w] for w in (*FIRST, *SECOND) if w in x.held), None) for x in layers]
    shapes = [getattr(x, "shape", None) for x in moments]
    for model in models:
        if list(model.values()) == shapes and all(layer.name.isdigit() for layer in layers):
            return [replace(layer, name=name) for layer, name in zip(layers, model, strict=True)]
    return layers
