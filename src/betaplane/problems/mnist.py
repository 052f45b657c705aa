"""Classify images of MNIST, or of any data set in its formats, from the user's own files."""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from betaplane.errors import BadInput
from betaplane.problems._classifier import classifier
from betaplane.problems.family import family
from betaplane.problems.problem import Problem

IMAGES = ("train-images-idx3-ubyte", "train-images.idx3-ubyte")
LABELS = ("train-labels-idx1-ubyte", "train-labels.idx1-ubyte")
FILES = (
    f"a folder with {IMAGES[0]} and {LABELS[0]} (gzipped or not), "
    "or an .npz file with x_train and y_train"
)


@family
def mnist(
    data: str | Path,
    model: str = "mlp",
    hidden: int = 32,
    batch_size: int = 32,
    steps: int = 2000,
    lr: float = 0.003,
    schedule: str = "constant",
    warmup: float = 0.0,
) -> Problem:
    """Classify images; the loss is the mean cross-entropy in nats. Nothing is downloaded.

    The files are MNIST's own (IDX, gzipped or not; also Fashion-MNIST, KMNIST, EMNIST) or the .npz
    file that Keras distributes. Pixels are scaled to [0, 1]. The number of classes is the largest
    label plus one, at least 10.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, 1998, Proc. IEEE 86(11); the IDX format is
        described with it.

    Args:
        data: the folder with the IDX files, or the .npz file.
        model: "mlp", "logistic" or "conv".
        hidden: hidden units of the mlp, >= 1.
        batch_size: images per step.
        steps: steps per run.
        lr: peak learning rate.
        schedule: name of the learning-rate schedule.
        warmup: share of the steps spent on linear warmup, in [0, 1).

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = f"{folder}/mnist.npz"
        ...     np.savez(file, x_train=np.zeros((64, 28, 28), np.uint8), y_train=np.arange(64) % 10)
        ...     mnist(file).inputs.shape
        torch.Size([64, 784])
    """
    path = Path(str(data)).expanduser()
    if path.is_dir():
        images, labels = _idx(_file(path, IMAGES), 3), _idx(_file(path, LABELS), 1)
    elif path.suffix == ".npz":
        images, labels = _npz(path)
    else:
        what = "The folder does not exist" if not path.exists() else "The data format is unknown"
        raise BadInput(what, value=str(data), allowed=FILES, where="mnist")
    _check(images, labels, path)
    return classifier(
        "mnist",
        torch.from_numpy(images.reshape(len(images), -1).astype(np.float32) / 255),
        torch.from_numpy(labels.astype(np.int64)),
        model=model,
        hidden=hidden,
        classes=max(10, int(labels.max()) + 1),
        batch_size=batch_size,
        steps=steps,
        lr=lr,
        schedule=schedule,
        warmup=warmup,
        note=f"images of {path.name}",
    )


def _file(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        for file in (folder / name, folder / f"{name}.gz"):
            if file.is_file():
                return file
    raise BadInput("A file is missing", value=f"{names[0]}[.gz]", allowed=FILES, where=str(folder))


def _idx(file: Path, dimensions: int) -> np.ndarray:
    """The array in an IDX file of bytes: 0, 0, 8 (unsigned byte), the number of dimensions, each
    size in 4 bytes, then the data.
    """
    raw = _bytes(file)
    if raw[:4] != bytes((0, 0, 8, dimensions)):
        raise BadInput(
            "The file is not an IDX file of bytes",
            value=raw[:4].hex(" "),
            allowed=f"00 00 08 {dimensions:02x} as its first bytes",
            where=str(file),
        )
    start = 4 + 4 * dimensions
    shape = tuple(int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4))
    if len(raw) != start + math.prod(shape):
        raise BadInput(
            "The file is truncated or too long",
            value=f"{len(raw)} bytes",
            allowed=f"{start + math.prod(shape)} bytes for shape {shape}",
            where=str(file),
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def _bytes(file: Path) -> bytes:
    try:
        raw = file.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(
            "The file cannot be read", value=str(file), allowed=FILES, where=str(error)
        ) from None


def _npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["x_train"], arrays["y_train"]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(
            "The .npz file cannot be read", value=str(path), allowed=FILES, where=str(error)
        ) from None


def _check(images: np.ndarray, labels: np.ndarray, path: Path) -> None:
    if images.ndim < 2 or labels.ndim != 1 or len(images) != len(labels) or not len(images):
        raise BadInput(
            "Images and labels do not fit together",
            value=(images.shape, labels.shape),
            allowed="(N, rows, columns) and (N,), N >= 1",
            where=str(path),
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise BadInput(
            "Labels are not classes",
            value=str(labels.dtype),
            allowed="integers >= 0",
            where=str(path),
        )
