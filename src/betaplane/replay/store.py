"""Recorded gradients on disk: a safetensors file that is written whole or not at all, and runs no
code when read.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as packed

from betaplane.errors import BadInput
from betaplane.replay.gradients import Gradients
from betaplane.replay.head import checked_head, digest

FORMAT = "betaplane gradients"
VERSION = 1  # of the format; raised when a field changes its meaning
KEYS = {"format", "version", "stream", "about"}  # of the metadata; 0.1.0 wrote no digest
LONGEST_HEAD = 20_000_000  # bytes
TENSORS = {"gradients": torch.float32, "index": torch.int64}


def save(stream: Gradients, path: str | Path) -> Path:
    """Write a stream to a safetensors file, atomically.

    The tensors are "gradients" (T, d) float32 and "index" (d,) int64; the metadata are names, shapes and shares of the
    layers, batch size, step, whether the weights stood still, how values were changed, the commit of the folder
    it was recorded in, versions, and a digest of all of it.

    Args:
        stream: what was recorded.
        path: of the file; what is there is replaced once the new file is whole.

    Returns:
        The path.

    Raises:
        BadInput: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from betaplane.replay.gradients import Layer
        >>> stream = Gradients(torch.tensor([[4.0], [-1.0]]), (Layer("x", (1,), 1),), torch.tensor([0]), batch_size=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     load(save(stream, f"{folder}/grads.safetensors")).values.tolist()
        [[4.0], [-1.0]]
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    tensors = {
        "gradients": stream.values.detach().float().contiguous().cpu(),
        "index": stream.index.cpu(),
    }
    try:
        with part.open("wb") as file:
            file.write(packed(tensors, _with_digest(_metadata(stream), tensors)))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise BadInput(
            f"The gradients cannot be written ({error.strerror})",
            value=str(path),
            allowed="a file in a folder that can be written, on a disk with free space",
            where="save",
            instead="grads.safetensors",
        ) from error
    return path


def load(path: str | Path) -> Gradients:
    """Read a stream that `save` wrote.

    Raises:
        BadInput: there is no such file, it is cut short, or it is something else.

    Example:
        >>> load("nowhere.safetensors")
        Traceback (most recent call last):
            ...
        betaplane.errors.BadInput: There is no such file: got 'nowhere.safetensors', ...
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(
            "There is no such file",
            value=str(path),
            allowed="a file of recorded gradients",
            where="replay",
            instead="betaplane record digits",
        )
    told, tensors = _opened(path)
    if told.get("format") != FORMAT:
        raise _foreign(path, "This safetensors file holds no recorded gradients")
    if told.get("version") != str(VERSION):
        raise _foreign(
            path, f"This file is of version {told.get('version')} of the format, and not {VERSION}"
        )
    if set(told) - {"digest"} != KEYS or {name: x.dtype for name, x in tensors.items()} != TENSORS:
        raise _foreign(path, "The head of this file cannot be read")
    if told.get("digest", digest(told, tensors)) != digest(told, tensors):
        raise _foreign(path, "This file is damaged: its digest is not that of its content")
    return _stream(path, told, tensors)


def _opened(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """The metadata and tensors of a safetensors file."""
    try:
        with path.open("rb") as file:
            if int.from_bytes(file.read(8), "little") > LONGEST_HEAD:
                raise _foreign(path, "This is no whole safetensors file (its head is too long)")
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _foreign(path, f"This is no whole safetensors file ({error})") from None


def _stream(path: Path, told: dict[str, str], tensors: dict[str, torch.Tensor]) -> Gradients:
    try:
        head, about = json.loads(told["stream"]), json.loads(told["about"])
        return Gradients(
            tensors["gradients"],
            index=tensors["index"],
            **checked_head(head, about, tensors["index"]),
        )
    except BadInput:
        raise
    except (
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
        OverflowError,
    ) as error:
        why = (
            f" ({error})"
            if type(error) is ValueError and not isinstance(error, json.JSONDecodeError)
            else ""
        )
        raise _foreign(path, f"The head of this file cannot be read{why}") from None


def _metadata(stream: Gradients) -> dict[str, str]:
    layers = [[layer.name, list(layer.shape), layer.sampled] for layer in stream.layers]
    head = {
        "layers": layers, "batch_size": stream.batch_size, "frozen": stream.frozen, "step": stream.step,
        "changed": stream.changed,
    }  # fmt: skip
    about = {**_here(), **stream.about}
    return {
        "format": FORMAT,
        "version": str(VERSION),
        "stream": json.dumps(head),
        "about": json.dumps(about),
    }


def _with_digest(told: dict[str, str], tensors: dict[str, torch.Tensor]) -> dict[str, str]:
    return {**told, "digest": digest(told, tensors)}


def _here() -> dict[str, str]:
    """Commit of the folder, versions of what computes."""
    versions = {name: metadata.version(name) for name in ("betaplane", "torch")}
    return {"commit": _commit(), "python": sys.version.split()[0], **versions}


def _commit() -> str:
    """The commit checked out in the current folder; "" outside a repository or without git."""
    try:
        words = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(words, capture_output=True, text=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _foreign(path: Path, what: str) -> BadInput:
    return BadInput(
        what,
        value=str(path),
        allowed="a file written by record_gradients or `betaplane record`",
        where="replay",
        instead="betaplane record digits",
    )
