"""Read the optimizer state in a checkpoint of any library; it is found by its structure, not its
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
from betaplane.checkpoints.folder import TRAINER_STATE, read_files
from betaplane.checkpoints.layer import Layer, checked
from betaplane.checkpoints.layout import find_contents
from betaplane.checkpoints.model import model_problems
from betaplane.checkpoints.naming import named_layers
from betaplane.checkpoints.torch_file import UNSUMMED, damaged, read

MAX_SHARED_BYTES = 10_000_000  # that tensors may share with others in any file
MAX_HEADER_BYTES = 20_000_000  # of a safetensors file, for 150,000 tensors
UNCOUNTED = (
    "The file has no step count for some layers, so quantities that depend on the step are unknown."
)
TRAINER = "Hugging Face Trainer"
INCOMPLETE = "This is not a complete safetensors file"


@dataclass(frozen=True)
class Checkpoint:
    """The optimizer state in a file."""

    path: str
    kind: str
    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()  # sentences about information that the file lacks
    problems: tuple[tuple[str, str], ...] = ()  # with the model: a sentence and the id of its rule


def read_checkpoint(
    path: str | Path, betas: tuple[float, float] | None = None, eps: float | None = None
) -> Checkpoint:
    """Read the optimizer state in a file or folder without running code in it.

    Supported are torch's state dicts, alone or anywhere in a dict (Hugging Face's optimizer.pt,
    Lightning's .ckpt), folders of torch.distributed.checkpoint, DeepSpeed's ZeRO shards (a file or
    their folder), and safetensors whose names contain those of the moments. 8-bit states of
    betaplane, bitsandbytes and torchao are decoded.

    Args:
        path: of the file or folder.
        betas: the betas of the training, each in [0, 1); used if the file lacks them.
        eps: the eps of the training, >= 0, gradient units; used if the file lacks it.

    Returns:
        The layers; tensors stay on disk if the format allows it.

    Raises:
        BadInput: the file is missing, damaged, would run code, or contains no moments.

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
    kind, loaded = _read(path, notes)
    layers, name_notes, problems = _checked_layers(path, kind, loaded)
    if not layers:
        raise damaged(path, "The file contains no state of an Adam-type optimizer")
    if sum(layer.bytes for layer in layers) > 2 * _size(path) + MAX_SHARED_BYTES:
        what = "The tensors in this file share memory and are together much larger than the file"
        raise damaged(path, what)
    notes += name_notes
    if any(layer.t is None for layer in layers):
        notes.append(UNCOUNTED)
    layers = [_with_defaults(layer, betas, eps) for layer in layers]
    return Checkpoint(str(path), kind, tuple(layers), tuple(notes), tuple(problems))


def _checked_layers(
    path: Path, kind: str, loaded: Any
) -> tuple[list[Layer], list[str], list[tuple[str, str]]]:
    """The layers with moments, notes on their names, and problems of the model."""
    try:
        contents = find_contents(loaded)
        layers, notes = named_layers(contents, in_order=kind == TRAINER)
        layers = [checked(layer) for layer in layers if layer.dtype]
        return layers, notes, list(model_problems(layers, contents.models))
    except Exception as error:  # a file can contain anything under the expected names
        why = str(error) if isinstance(error, ValueError) else type(error).__name__
        what = f"The state in this file is not laid out as an optimizer's ({why})"
        raise damaged(path, what) from None


def _size(path: Path) -> int:
    """Bytes of the file, or of all files in its folder if it is the index of a folder."""
    folder = path.parent if path.name == dcp.INDEX else path
    files = folder.rglob("*") if folder.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _with_defaults(layer: Layer, betas: tuple[float, float] | None, eps: float | None) -> Layer:
    """The layer, with betas and eps filled in if its file lacks them."""
    s = layer.settings
    if s.beta1 is None and betas is not None:
        s = s._replace(beta1=betas[0], beta2=betas[1])
    return replace(layer, settings=s._replace(eps=eps) if s.eps is None else s)


def _read(path: Path, notes: list[str]) -> tuple[str, Any]:
    """The kind of a checkpoint, and its content."""
    if path.is_dir():
        return _read_folder(path, notes)
    if path.name == dcp.INDEX and path.is_file():
        return "torch.distributed.checkpoint", dcp.read_folder(path.parent, notes)
    if path.suffix == ".safetensors":
        return "safetensors", _read_safetensors(path, notes)
    loaded = read(path, notes)
    return _kind(loaded), loaded


def _kind(loaded: Any) -> str:
    """The library that wrote a torch file."""
    if not isinstance(loaded, Mapping):
        return "torch"
    inner = loaded.get("optimizer_state_dict", loaded)
    keys = {*loaded, *(inner if isinstance(inner, Mapping) else ())}
    kinds = {"optimizer_states": "Lightning", "base_optimizer_state": "DeepSpeed ZeRO"}
    return next((kind for key, kind in kinds.items() if key in keys), "torch")


def _read_folder(path: Path, notes: list[str]) -> tuple[str, Any]:
    if (path / dcp.INDEX).is_file():
        return "torch.distributed.checkpoint", dcp.read_folder(path, notes)
    shards = sorted(path.glob("*optim_states.pt")) or sorted(path.glob("*/*optim_states.pt"))
    if len({shard.parent for shard in shards}) == 1:
        return "DeepSpeed ZeRO", [read(shard) for shard in shards]
    if contents := read_files(path, lambda file: _read(file, notes)[1]):
        return (TRAINER if (path / TRAINER_STATE).is_file() else "folder"), contents
    inside = next((index.parent for index in sorted(path.glob(f"*/{dcp.INDEX}"))), None)
    if inside is None:
        raise damaged(path, "The folder contains no checkpoint, or several")
    return _read(inside, notes)


def _read_safetensors(path: Path, notes: list[str]) -> Any:
    """The tensors by name and the settings in the metadata, as one flat state."""
    if not path.is_file():
        raise damaged(path, "There is no such checkpoint")
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise damaged(path, f"{INCOMPLETE} (its header is too long)")
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise damaged(path, f"{INCOMPLETE} ({type(error).__name__})") from None
    if UNSUMMED not in notes:
        notes.append(UNSUMMED)
    group = {name: _parse_json(text) for name, text in metadata.items()}
    return {"flat": tensors, "group": group}


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
