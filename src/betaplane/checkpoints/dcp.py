"""Read a folder of torch.distributed.checkpoint in one process; its pickled index is read without
running code.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from betaplane.checkpoints.inert_pickle import Refused, Unpickler
from betaplane.checkpoints.stored import TABLE
from betaplane.checkpoints.torch_file import damaged, read_bytes, refused
from betaplane.errors import BadInput

INDEX = ".metadata"
MOMENTS = (
    "step",
    "exp_avg",
    "exp_avg_sq",
    "exp_avg_scale",
    "exp_avg_sq_scale",
    "max_exp_avg_sq",
    "m",
    "v",
)
UNSUMMED = (
    "The index of this folder has no checksum, so damage to the names in it cannot be detected."
)
MAX_DEPTH = 32  # keys from the top of the state dict to a tensor


def read_folder(folder: Path, notes: list[str] | None = None) -> dict[Any, Any]:
    """The optimizer's part of the saved state dict, with its nesting and with complete tensors.

    Args:
        folder: with `.metadata` and the files that it names.
        notes: a sentence is added if damage to the folder could go unnoticed.

    Raises:
        BadInput: the index or a file is damaged, missing or of another version, or the index would
            call functions.
    """
    try:
        state_dict = _Folder(folder).state_dict()
    except BadInput:
        raise
    except Refused as error:
        raise refused(folder, error.name) from None
    except ValueError as error:
        raise damaged(folder, f"The folder is damaged ({error})") from None
    except Exception as error:  # a damaged pickle can make Python's reader raise anything
        raise damaged(folder, f"The folder is damaged ({type(error).__name__})") from None
    if notes is not None:
        notes.append(UNSUMMED)
    return state_dict


class _Folder:
    """The files of a folder; no more bytes are read than they contain."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # bytes that may still be read
        self.left = 2 * sum(file.stat().st_size for file in folder.iterdir() if file.is_file())

    def state_dict(self) -> dict[Any, Any]:
        """The optimizer's part."""
        index = Unpickler(io.BytesIO((self.folder / INDEX).read_bytes()), self.left, TABLE).load()
        state_dict: dict[Any, Any] = {}
        parts: dict[str, list[Any]] = {}
        for chunk, storage in index.storage_data.items():
            parts.setdefault(chunk.fqn, []).append((chunk, storage))
        for name, metadata in index.state_dict_metadata.items():
            keys = tuple((index.planner_data or {}).get(name) or (name,))
            if _is_optimizer_state(keys):
                _set_nested(state_dict, keys, self._value(metadata, parts[name]))
        return state_dict

    def _value(self, metadata: Any, parts: list[Any]) -> Any:
        if not hasattr(metadata, "size"):
            return read_bytes(self._slice(parts[0][1]), self.folder)
        chunks = ((chunk, read_bytes(self._slice(where), self.folder)) for chunk, where in parts)
        return _assembled(tuple(metadata.size), chunks)

    def _slice(self, entry: Any) -> bytes:
        file = (self.folder / entry.relative_path).resolve()
        if not file.is_relative_to(self.folder.resolve()):
            raise ValueError("its index points outside of it")
        if getattr(entry, "transform_descriptors", None):
            raise ValueError("its files are compressed")
        if not file.is_file():
            raise FileNotFoundError(entry.relative_path)
        are_ints = type(entry.offset) is type(entry.length) is int
        if not are_ints or entry.offset < 0 or not 0 < entry.length <= self.left:
            raise ValueError("its index describes more bytes than its files contain")
        self.left -= entry.length
        with file.open("rb") as opened:
            opened.seek(entry.offset)
            return opened.read(entry.length)


def _is_optimizer_state(keys: tuple[Any, ...]) -> bool:
    """Whether a value of the state dict belongs to the optimizer, by its nested keys."""
    if len(keys) > MAX_DEPTH or not all(isinstance(key, str | int) for key in keys):
        raise ValueError("its index has keys that are not names")
    # a flattened state dict has several names in one key
    names = ".".join(map(str, keys)).split(".")
    return "param_groups" in names or names[-1] in MOMENTS


def _set_nested(state_dict: dict[Any, Any], keys: tuple[Any, ...], value: Any) -> None:
    *parents, last = keys
    for key in parents:
        state_dict = state_dict.setdefault(key, {})
    state_dict[last] = value


def _assembled(size: tuple[int, ...], parts: Iterable[tuple[Any, Tensor]]) -> Tensor:
    """One tensor from its chunks, which must cover it exactly once."""
    chunks = [(tuple(index.offset or (0,) * len(size)), chunk) for index, chunk in parts]
    if sum(chunk.numel() for _, chunk in chunks) != math.prod(size):
        raise ValueError("chunks of a tensor are missing")
    if any(_is_incomplete(chunk) for _, chunk in chunks):
        raise ValueError("chunks of a tensor have fewer elements than their shape")
    if len(chunks) == 1:
        return chunks[0][1].reshape(size)
    assembled = torch.empty(size, dtype=chunks[0][1].dtype)
    covered = torch.zeros(size, dtype=torch.bool)
    for offset, chunk in chunks:
        place = tuple(slice(o, o + n) for o, n in zip(offset, chunk.shape, strict=True))
        assembled[place] = chunk
        covered[place] = True
    if not covered.all():
        raise ValueError("chunks of a tensor overlap")
    return assembled


def _is_incomplete(chunk: Tensor) -> bool:
    return chunk.untyped_storage().nbytes() < chunk.numel() * chunk.element_size()
