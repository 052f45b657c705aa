"""Data files of mnist and text: all formats give the same data, and damaged files are rejected."""

import gzip
import re
import struct

import numpy as np
import pytest
import torch

from betaplane.errors import BadInput
from betaplane.problems import check, load, mnist, text


def idx(magic: int, *shape: int, data: bytes) -> bytes:
    return struct.pack(f">I{len(shape)}I", magic, *shape) + data


IMAGES, LABELS = (
    idx(0x803, 40, 2, 3, data=bytes(range(240))),
    idx(0x801, 40, data=bytes([7, 0, 1, 2] * 10)),
)


def folder(
    path, images=IMAGES, labels=LABELS, names=("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
):
    for name, data in zip(names, (images, labels), strict=True):
        if data is not None:
            (path / name).write_bytes(data)
    return path


def test_mnist_reads_the_same_data_from_every_format(tmp_path):
    plain, packed, dotted = (tmp_path / name for name in ("plain", "packed", "dotted"))
    for path in (plain, packed, dotted):
        path.mkdir()
    folder(plain)
    names = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    folder(packed, gzip.compress(IMAGES), gzip.compress(LABELS), names)
    folder(dotted, names=("train-images.idx3-ubyte", "train-labels.idx1-ubyte"))
    x, y = np.arange(240, dtype=np.uint8).reshape(40, 2, 3), np.array([7, 0, 1, 2] * 10)
    np.savez(tmp_path / "mnist.npz", x_train=x, y_train=y)
    for path in (plain, packed, dotted, tmp_path / "mnist.npz"):
        problem = mnist(path)
        assert torch.equal(problem.inputs, torch.arange(240.0).view(40, 6) / 255)
        assert problem.targets.tolist() == y.tolist()
    check(load(f"mnist:{plain}"))


FILES = {
    "empty folder": (lambda p: p, r"file is missing: got 'train-images-idx3-ubyte\[.gz\]'"),
    "no labels": (
        lambda p: folder(p, labels=None),
        r"file is missing: got 'train-labels-idx1-ubyte\[.gz\]'",
    ),
    "magic": (
        lambda p: folder(p, images=LABELS),
        "not an IDX file of bytes: got '00 00 08 01'; expected 00 00 08 03",
    ),
    "empty file": (lambda p: folder(p, images=b""), "not an IDX file of bytes: got ''"),
    "no header": (lambda p: folder(p, images=IMAGES[:7]), "truncated"),
    "truncated": (
        lambda p: folder(p, images=IMAGES[:-1]),
        r"got '255 bytes'; expected 256 bytes for shape \(40, 2, 3\)",
    ),
    "too long": (
        lambda p: folder(p, images=IMAGES + b"0"),
        "truncated or too long: got '257 bytes'",
    ),
    "bad gzip": (lambda p: folder(p, images=gzip.compress(IMAGES)[:40]), "cannot be read"),
    "bad deflate": (
        lambda p: folder(p, images=gzip.compress(IMAGES)[:10] + bytes(40)),
        "cannot be read",
    ),
    "counts differ": (
        lambda p: folder(p, labels=idx(0x801, 1, data=b"7")),
        r"do not fit together: got \(\(40, 2, 3\)",
    ),
    "no images": (
        lambda p: folder(p, images=idx(0x803, 0, 2, 3, data=b""), labels=idx(0x801, 0, data=b"")),
        "do not fit together",
    ),
    "not a zip": (
        lambda p: (p / "a.npz", (p / "a.npz").write_bytes(b"hello"))[0],
        "npz file cannot be read",
    ),
    "no npz": (lambda p: p / "b.npz", "npz file cannot be read"),
    "no such array": (
        lambda p: (p / "c.npz", np.savez(p / "c.npz", x_train=[1]))[0],
        "npz file cannot be read.*y_train",
    ),
    "other file": (
        lambda p: (p / "d.csv", (p / "d.csv").write_text("1,2"))[0],
        "format is unknown",
    ),
    "labels": (
        lambda p: (
            p / "e.npz",
            np.savez(p / "e.npz", x_train=np.ones((9, 2, 2)), y_train=np.ones(9)),
        )[0],
        "Labels are not classes: got 'float64'",
    ),
}


@pytest.mark.parametrize(("make", "message"), FILES.values(), ids=FILES)
def test_bad_mnist_file_is_rejected(make, message, tmp_path):
    with pytest.raises(BadInput, match=message):
        mnist(make(tmp_path))


def test_bad_text_file_is_rejected(tmp_path):
    short, latin = tmp_path / "short.txt", tmp_path / "latin.txt"
    short.write_text("hello")
    latin.write_bytes(b"caf\xe9" * 500)
    with pytest.raises(
        BadInput,
        match=re.escape("got '5 characters'; expected at least batch_size x context + 1 = 513"),
    ):
        text(short)
    with pytest.raises(BadInput, match=r"not UTF-8.*latin.txt, byte 3"):
        text(latin)
    with pytest.raises(BadInput, match="cannot be read"):
        text(tmp_path)
