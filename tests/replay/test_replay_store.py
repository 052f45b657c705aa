"""Recordings on disk: whole or not there, and anything else is a sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from betaplane.errors import BadInput
from betaplane.problems import digits
from betaplane.replay import load, record_problem, save


@pytest.fixture(scope="module")
def stream():
    return record_problem(digits(hidden=4), coordinates=80, steps=20)


def test_what_is_written_is_read(stream, tmp_path: Path):
    found = load(save(stream, tmp_path / "grads.safetensors"))
    assert torch.equal(found.values, stream.values)
    assert torch.equal(found.index, stream.index)
    for name in ("layers", "batch_size", "frozen", "step"):
        assert getattr(found, name) == getattr(stream, name)
    assert found.about.items() >= stream.about.items()
    assert found.about["torch"] == torch.__version__
    assert {"commit", "python", "betaplane"} <= found.about.keys()


def test_nothing_is_left_beside_it(stream, tmp_path: Path):
    save(stream, tmp_path / "grads.safetensors")
    save(stream, tmp_path / "grads.safetensors")
    assert os.listdir(tmp_path) == ["grads.safetensors"]


def test_what_cannot_be_written_harms_nothing(stream, tmp_path: Path):
    for path in (tmp_path / "nowhere" / "grads.safetensors", tmp_path):
        with pytest.raises(BadInput, match="The gradients cannot be written"):
            save(stream, path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_cut_short(stream, tmp_path: Path, share: float):
    path = save(stream, tmp_path / "grads.safetensors")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(BadInput, match="This is no whole safetensors file"):
        load(path)


def foreign(path: Path) -> dict[str, tuple[bytes, str]]:
    fine = save(record_problem(digits(hidden=4), 80, 4), path / "fine.safetensors").read_bytes()
    ones, other = {"gradients": torch.ones(3, 2)}, path / "other.safetensors"
    about = {"format": "betaplane gradients", "version": "1"}
    written = {}
    for name, head in {"bare": None, "headless": about, "mangled": {**about, "stream": "[1]", "about": "{}"}}.items():
        save_file(ones, other, head)
        written[name] = other.read_bytes()
    version = fine.replace(b'"version":"1"', b'"version":"9"')
    nan = fine[:-4] + torch.tensor([torch.nan]).numpy().tobytes()
    fewer = fine.replace(b"[4, 64], 47]", b"[4, 64], 46]")
    return {
        "text": (b"x" * 4096, "This is no whole safetensors file"),
        "another's": (written["bare"], "This safetensors file holds no recorded gradients"),
        "later": (version, "This file is of version 9 of the format, and not 1"),
        "without a head": (written["headless"], "The head of this file cannot be read"),
        "with another head": (written["mangled"], "The head of this file cannot be read"),
        "fewer coordinates": (fewer, "no stream of the layers"),
        "not finite": (nan, "hold values that are not finite"),
    }


def test_foreign_files(tmp_path: Path):
    for name, (content, told) in foreign(tmp_path).items():
        path = tmp_path / "given.safetensors"
        path.write_bytes(content)
        with pytest.raises(BadInput) as caught:
            load(path)
        assert told in str(caught.value), name
