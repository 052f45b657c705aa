"""Save and load recorded gradients as a safetensors file, which is written atomically and runs no
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
from safetensors.torch import save as serialize

from betaplane.errors import BadInput
from betaplane.replay.gradients import Gradients
from betaplane.replay.head import checked_head, digest

FORMAT = "betaplane gradients"
VERSION = 1  # of the format; increased when a field changes its meaning
KEYS = {"format", "version", "stream", "about"}  # of the metadata; 0.1.0 wrote no digest
MAX_HEADER_BYTES = 20_000_000
TENSORS = {"gradients": torch.float32, "index": torch.int64}
INCOMPLETE = "This is not a complete safetensors file"
# raised by a header with missing or invalid fields
HEADER_ERRORS = (
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    RecursionError,
    OverflowError,
)


def save(stream: Gradients, path: str | Path) -> Path:
    """Write a stream to a safetensors file, atomically.

    The tensors are "gradients" (T, d) float32 and "index" (d,) int64. The metadata are names,
    shapes and sampled coordinates of the layers, batch size, step, whether the weights were frozen,
    how values were changed, the commit of the current folder, versions, and a digest of all of it.

    Args:
        stream: the recorded gradients.
        path: of the file; an existing file is replaced once the new one is complete.

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
            file.write(serialize(tensors, _with_digest(_metadata(stream), tensors)))
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

    Args:
        path: of the file.

    Raises:
        BadInput: the file does not exist, is truncated or damaged, or is not a recording.

    Example:
        >>> load("nowhere.safetensors")
        Traceback (most recent call last):
            ...
        betaplane.errors.BadInput: There is no such file: got 'nowhere.safetensors'; ...
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(
            "There is no such file",
            value=str(path),
            allowed="a file of recorded gradients",
            where="load",
            instead="betaplane record digits",
        )
    metadata, tensors = _read(path)
    _check_format(path, metadata, tensors)
    return _stream(path, metadata, tensors)


def _check_format(path: Path, metadata: dict[str, str], tensors: dict[str, torch.Tensor]) -> None:
    if metadata.get("format") != FORMAT:
        raise _not_a_recording(path, "This safetensors file contains no recorded gradients")
    if metadata.get("version") != str(VERSION):
        what = f"This file has format version {metadata.get('version')}, not {VERSION}"
        raise _not_a_recording(path, what)
    dtypes = {name: x.dtype for name, x in tensors.items()}
    if set(metadata) - {"digest"} != KEYS or dtypes != TENSORS:
        raise _not_a_recording(path, "The header of this file cannot be read")
    expected = digest(metadata, tensors)
    if metadata.get("digest", expected) != expected:
        raise _not_a_recording(path, "This file is damaged: its digest does not match its content")


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """The metadata and tensors of a safetensors file."""
    try:
        with path.open("rb") as file:
            if int.from_bytes(file.read(8), "little") > MAX_HEADER_BYTES:
                raise _not_a_recording(path, f"{INCOMPLETE} (its header is too long)")
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _not_a_recording(path, f"{INCOMPLETE} ({error})") from None


def _stream(path: Path, metadata: dict[str, str], tensors: dict[str, torch.Tensor]) -> Gradients:
    try:
        head, about = json.loads(metadata["stream"]), json.loads(metadata["about"])
        return Gradients(
            tensors["gradients"],
            index=tensors["index"],
            **checked_head(head, about, tensors["index"]),
        )
    except BadInput:
        raise
    except HEADER_ERRORS as error:
        why = f" ({error})" if type(error) is ValueError else ""  # raised by `checked_head`
        raise _not_a_recording(path, f"The header of this file cannot be read{why}") from None


def _metadata(stream: Gradients) -> dict[str, str]:
    head = {
        "layers": [[layer.name, list(layer.shape), layer.sampled] for layer in stream.layers],
        "batch_size": stream.batch_size,
        "frozen": stream.frozen,
        "step": stream.step,
        "changed": stream.changed,
    }
    about = {**_origin(), **stream.about}
    return {
        "format": FORMAT,
        "version": str(VERSION),
        "stream": json.dumps(head),
        "about": json.dumps(about),
    }


def _with_digest(fields: dict[str, str], tensors: dict[str, torch.Tensor]) -> dict[str, str]:
    return {**fields, "digest": digest(fields, tensors)}


def _origin() -> dict[str, str]:
    """The commit of the current folder, and the versions of Python, torch and betaplane."""
    versions = {name: metadata.version(name) for name in ("betaplane", "torch")}
    return {"commit": _commit(), "python": sys.version.split()[0], **versions}


def _commit() -> str:
    """The commit checked out in the current folder; "" outside a repository or without git."""
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(command, capture_output=True, text=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _not_a_recording(path: Path, what: str) -> BadInput:
    return BadInput(
        what,
        value=str(path),
        allowed="a file written by record_gradients or `betaplane record`",
        where="load",
        instead="betaplane record digits",
    )
