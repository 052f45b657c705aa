"""The optimizer state in a checkpoint on disk, whoever wrote it: found by its structure, not by its
name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from betaplane.checkpoints import dcp
from betaplane.checkpoints.layer import Layer, checked
from betaplane.checkpoints.layout import contents
from betaplane.checkpoints.naming import named
from betaplane.checkpoints.torch_file import UNSUMMED, damaged, read

SHARED = 10_000_000  # bytes that tensors may share with others in any file
LONGEST_HEAD = 20_000_000  # bytes of a safetensors file: 150,000 tensors
UNCOUNTED = "Nothing in the file counts the steps of some layers, so what depends on their number is unknown."
FILES = ("optimizer.pt", "optimizer.bin", "optimizer.safetensors")  # in a folder


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds of an optimizer."""

    path: str
    kind: str
    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()  # sentences on what the file leaves unknown


def read_checkpoint(
    path: str | Path, betas: tuple[float, float] | None = None, eps: float | None = None
) -> Checkpoint:
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
        >>> import tempfile, torch
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
    path, notes = Path(path), list[str]()
    kind, held = _opened(path, notes)
    try:
        found, unknown = named(contents(held))
        layers = [checked(layer) for layer in found if layer.dtype]
    except Exception as error:  # a file can hold anything under the names we look for
        told = str(error) if isinstance(error, ValueError) else type(error).__name__
        raise damaged(
            path, f"The state in this file is not laid out as an optimizer's ({told})"
        ) from None
    if not layers:
        raise damaged(path, "The file holds no state of an Adam-type optimizer")
    if sum(layer.bytes for layer in layers) > 2 * _size(path) + SHARED:
        raise damaged(
            path,
            "The tensors in this file share their memory, and together are many times as large",
        )
    notes += unknown + ([UNCOUNTED] if any(layer.t is None for layer in layers) else [])
    return Checkpoint(
        str(path), kind, tuple(_with(layer, betas, eps) for layer in layers), tuple(notes)
    )


def _size(path: Path) -> int:
    """Bytes of the file, or of all files in the folder it stands for."""
    folder = path.parent if path.name == dcp.INDEX else path
    files = folder.rglob("*") if folder.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _with(layer: Layer, betas: tuple[float, float] | None, eps: float | None) -> Layer:
    """The layer with settings that its file leaves open."""
    s = layer.settings
    if s.beta1 is None and betas is not None:
        s = s._replace(beta1=betas[0], beta2=betas[1])
    return replace(layer, settings=s._replace(eps=eps) if s.eps is None else s)


def _opened(path: Path, notes: list[str]) -> tuple[str, Any]:
    """What kind of checkpoint it is, and what is in it."""
    if path.is_dir():
        return _folder(path, notes)
    if path.name == dcp.INDEX and path.is_file():
        return "torch.distributed.checkpoint", dcp.read_folder(path.parent, notes)
    if path.suffix == ".safetensors":
        return "safetensors", _safetensors(path, notes)
    held = read(path, notes)
    kinds = {"optimizer_states": "Lightning", "base_optimizer_state": "DeepSpeed ZeRO"}
    inner = held.get("optimizer_state_dict", held) if isinstance(held, Mapping) else {}
    keys = {
        *(held if isinstance(held, Mapping) else ()),
        *(inner if isinstance(inner, Mapping) else ()),
    }
    return next((kind for key, kind in kinds.items() if key in keys), "torch"), held


def _folder(path: Path, notes: list[str]) -> tuple[str, Any]:
    if (path / dcp.INDEX).is_file():
        return "torch.distributed.checkpoint", dcp.read_folder(path, notes)
    shards = sorted(path.glob("*optim_states.pt")) or sorted(path.glob("*/*optim_states.pt"))
    if len({shard.parent for shard in shards}) == 1:
        return "DeepSpeed ZeRO", [read(shard) for shard in shards]
    inside = next((path / name for name in FILES if (path / name).is_file()), None)
    inside = inside or next((found.parent for found in sorted(path.glob(f"*/{dcp.INDEX}"))), None)
    if inside is None:
        raise damaged(path, "The folder holds no checkpoint, or several")
    return _opened(inside, notes)


def _safetensors(path: Path, notes: list[str]) -> Any:
    """The tensors by name, and the settings in the metadata, as one flat state."""
    if not path.is_file():
        raise damaged(path, "There is no such checkpoint")
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > LONGEST_HEAD:
            raise damaged(path, "This is no whole safetensors file (its head is too long)")
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise damaged(path, f"This is no whole safetensors file ({type(error).__name__})") from None
    notes.append(UNSUMMED)
    return {"flat": tensors, "group": {name: _json(text) for name, text in told.items()}}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
