"""A folder of torch.distributed.checkpoint, in one process; its index, a pickle, is read by an
inert reader.
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
    "The index of this folder has no checksum, so damage to the names in it cannot be noticed."
)
LONGEST_PLACE = 32  # keys from the top of the state dict to a tensor


def read_folder(folder: Path, notes: list[str] | None = None) -> dict[Any, Any]:
    """The optimizer's part of the state dict that was saved: tensors whole, nesting as it was.

    Args:
        folder: with `.metadata` and the files it names.
        notes: a sentence is added for what cannot be known of the folder.

    Raises:
        BadInput: the index or a file is damaged, missing or of another version, or the index would call functions.
    """
    try:
        found = _Folder(folder).state_dict()
    except BadInput:
        raise
    except Refused as error:
        raise refused(folder, error.name) from None
    except ValueError as error:
        raise damaged(folder, f"The folder is damaged ({error})") from None
    except Exception as error:  # whatever a damaged pickle makes Python's reader raise
        raise damaged(folder, f"The folder is damaged ({type(error).__name__})") from None
    if notes is not None:
        notes.append(UNSUMMED)
    return found


class _Folder:
    """The files of a folder, each read within its bounds, and together no more than they hold."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.left = 2 * sum(file.stat().st_size for file in folder.iterdir() if file.is_file())

    def state_dict(self) -> dict[Any, Any]:
        """The optimizer's part."""
        index = Unpickler(io.BytesIO((self.folder / INDEX).read_bytes()), self.left, TABLE).load()
        found: dict[Any, Any] = {}
        stored: dict[str, list[Any]] = {}
        for where, info in index.storage_data.items():
            stored.setdefault(where.fqn, []).append((where, info))
        for name, about in index.state_dict_metadata.items():
            place = tuple((index.planner_data or {}).get(name) or (name,))
            if _is_state(place):
                _put(found, place, self._value(about, stored[name]))
        return found

    def _value(self, about: Any, parts: list[Any]) -> Any:
        if not hasattr(about, "size"):
            return read_bytes(self._slice(parts[0][1]), self.folder)
        chunks = ((where, read_bytes(self._slice(info), self.folder)) for where, info in parts)
        return _whole(tuple(about.size), chunks)

    def _slice(self, info: Any) -> bytes:
        file = (self.folder / info.relative_path).resolve()
        if not file.is_relative_to(self.folder.resolve()):
            raise ValueError("its index points outside of it")
        if getattr(info, "transform_descriptors", None):
            raise ValueError("its files are compressed")
        if not file.is_file():
            raise FileNotFoundError(info.relative_path)
        if not (
            type(info.offset) is type(info.length) is int
            and info.offset >= 0
            and 0 < info.length <= self.left
        ):
            raise ValueError("its index asks for more than its files hold")
        self.left -= info.length
        with file.open("rb") as opened:
            opened.seek(info.offset)
            return opened.read(info.length)


def _is_state(place: tuple[Any, ...]) -> bool:
    """Whether a place in the state dict is the optimizer's."""
    if len(place) > LONGEST_PLACE or not all(isinstance(part, str | int) for part in place):
        raise ValueError("its index has keys that are no names")
    # a flattened state dict has several of them in one part
    words = ".".join(map(str, place)).split(".")
    return "param_groups" in words or words[-1] in MOMENTS


def _put(found: dict[Any, Any], place: tuple[Any, ...], value: Any) -> None:
    *path, last = place
    for step in path:
        found = found.setdefault(step, {})
    found[last] = value


def _whole(size: tuple[int, ...], parts: Iterable[tuple[Any, Tensor]]) -> Tensor:
    """One tensor from its chunks, which must cover it once."""
    chunks = [(tuple(where.offset or (0,) * len(size)), chunk) for where, chunk in parts]
    if sum(chunk.numel() for _, chunk in chunks) != math.prod(size):
        raise ValueError("chunks of a tensor are missing")
    if any(
        chunk.untyped_storage().nbytes() < chunk.numel() * chunk.element_size()
        for _, chunk in chunks
    ):
        raise ValueError("chunks of a tensor hold less than they say")
    if len(chunks) == 1:
        return chunks[0][1].reshape(size)
    whole, covered = (
        torch.empty(size, dtype=chunks[0][1].dtype),
        torch.zeros(size, dtype=torch.bool),
    )
    for offset, chunk in chunks:
        place = tuple(slice(o, o + n) for o, n in zip(offset, chunk.shape, strict=True))
        whole[place], covered[place] = chunk, True
    if not covered.all():
        raise ValueError("chunks of a tensor overlap")
    return whole
