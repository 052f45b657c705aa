"""A folder of torch.distributed.checkpoint, in one process; its index, a pickle, is read by an inert reader."""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from betaplane.checkpoints.torch_file import Inert, damaged, read_bytes
from betaplane.errors import BadInput

INDEX = ".metadata"
MOMENTS = ("step", "exp_avg", "exp_avg_sq", "exp_avg_scale", "exp_avg_sq_scale", "max_exp_avg_sq", "m", "v")


class _Reader(pickle._Unpickler):  # type: ignore[name-defined]  # in C it would fill memory for one wrong byte
    """Makes stand-ins of torch's classes, and refuses all others."""

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in, whatever the class does."""
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if (module, name) == ("torch", "Size"):
            return tuple
        if module.split(".")[0] not in ("torch", "pathlib", "collections"):
            raise pickle.UnpicklingError(f"it would call {module}.{name}")
        return Inert

    def load_ext(self, *_: Any) -> Any:
        """Codes of registered classes are of no use here."""
        raise pickle.UnpicklingError("it holds extension codes")


def read_folder(folder: Path) -> dict[Any, Any]:
    """The optimizer's part of the state dict that was saved: tensors whole, nesting as it was.

    Args:
        folder: with `.metadata` and the files it names.

    Raises:
        BadInput: the index or a file is damaged, missing or of another version, or the index would call functions.
    """
    try:
        index = _Reader(io.BytesIO((folder / INDEX).read_bytes())).load()
        found: dict[Any, Any] = {}
        stored: dict[str, list[Any]] = {}
        for where, info in index.storage_data.items():
            stored.setdefault(where.fqn, []).append((where, info))
        for name, about in index.state_dict_metadata.items():
            place = tuple((index.planner_data or {}).get(name) or (name,))
            words = ".".join(map(str, place)).split(".")  # a flattened state dict has several of them in one part
            if "param_groups" in words or words[-1] in MOMENTS:
                _put(found, place, _value(folder, about, stored[name]))
        return found
    except pickle.UnpicklingError as error:
        raise damaged(folder, f"The index of this folder is no torch checkpoint's ({error})") from None
    except BadInput:
        raise
    except ValueError as error:
        raise damaged(folder, f"The folder is damaged ({error})") from None
    except Exception as error:  # whatever a damaged pickle makes Python's reader raise
        raise damaged(folder, f"The folder is damaged ({type(error).__name__})") from None


def _put(found: dict[Any, Any], place: tuple[Any, ...], value: Any) -> None:
    *path, last = place
    for step in path:
        found = found.setdefault(step, {})
    found[last] = value


def _value(folder: Path, about: Any, parts: list[Any]) -> Any:
    if not hasattr(about, "size"):
        return read_bytes(_slice(folder, parts[0][1]), folder)
    return _whole(tuple(about.size), ((where, read_bytes(_slice(folder, info), folder)) for where, info in parts))


def _whole(size: tuple[int, ...], parts: Iterable[tuple[Any, Tensor]]) -> Tensor:
    """One tensor from its chunks."""
    chunks = [(tuple(where.offset or (0,) * len(size)), chunk) for where, chunk in parts]
    if sum(chunk.numel() for _, chunk in chunks) != math.prod(size):
        raise ValueError("chunks of a tensor are missing")
    if len(chunks) == 1:
        return chunks[0][1].reshape(size)
    whole = torch.empty(size, dtype=chunks[0][1].dtype)
    for offset, chunk in chunks:
        whole[tuple(slice(o, o + n) for o, n in zip(offset, chunk.shape, strict=True))] = chunk
    return whole


def _slice(folder: Path, info: Any) -> bytes:
    file = (folder / info.relative_path).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise ValueError("its index points outside of it")
    if getattr(info, "transform_descriptors", None):
        raise ValueError("its files are compressed")
    with file.open("rb") as opened:
        opened.seek(info.offset)
        return opened.read(info.length)
