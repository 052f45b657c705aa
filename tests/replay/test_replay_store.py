"""Recordings on disk: whole or not there, and anything else is a sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from betaplane.errors import BadInput
from betaplane.problems import digits
from betaplane.replay import Gradients, load, record_problem, save
from betaplane.replay.gradients import Layer


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
    with pytest.raises(BadInput, match="This is not a complete safetensors file"):
        load(path)


def foreign(path: Path) -> dict[str, tuple[bytes, str]]:
    fine = save(record_problem(digits(hidden=4), 80, 4), path / "fine.safetensors").read_bytes()
    ones, other = {"gradients": torch.ones(3, 2)}, path / "other.safetensors"
    about = {"format": "betaplane gradients", "version": "1"}
    written = {}
    for name, head in {
        "bare": None,
        "headless": about,
        "mangled": {**about, "stream": "[1]", "about": "{}"},
    }.items():
        save_file(ones, other, head)
        written[name] = other.read_bytes()
    version = fine.replace(b'"version":"1"', b'"version":"9"')
    turned = fine[:-4] + torch.tensor([2.0]).numpy().tobytes()
    return {
        "text": (b"x" * 4096, "This is not a complete safetensors file"),
        "another's": (written["bare"], "This safetensors file contains no recorded gradients"),
        "later": (version, "This file has format version 9, not 1"),
        "without a head": (written["headless"], "The header of this file cannot be read"),
        "with another head": (written["mangled"], "The header of this file cannot be read"),
        "a number turned": (turned, "This file is damaged: its digest does not match its content"),
    }


def test_foreign_files(tmp_path: Path):
    for name, (content, message) in foreign(tmp_path).items():
        path = tmp_path / "given.safetensors"
        path.write_bytes(content)
        with pytest.raises(BadInput) as caught:
            load(path)
        assert message in str(caught.value), name


def rewritten(path: Path, values: dict | None = None, **head: object) -> Path:
    """The file as 0.1.0 wrote it, without a digest, with some tensors or fields of its head
    changed.
    """
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del metadata["digest"]
    metadata["stream"] = json.dumps({**json.loads(metadata["stream"]), **head})
    save_file({**tensors, **(values or {})}, path, metadata)
    return path


def test_a_file_without_a_digest_is_read(stream, tmp_path: Path):
    found = load(rewritten(save(stream, tmp_path / "grads.safetensors")))
    assert torch.equal(found.values, stream.values)
    assert found.layers == stream.layers


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("batch_size", 0, "batch_size is not a number >= 1"),
        ("batch_size", -3, "batch_size is not a number >= 1"),
        ("batch_size", float("nan"), "batch_size is not a number >= 1"),
        ("batch_size", "32", "batch_size is not a number >= 1"),
        ("batch_size", True, "batch_size is not a number >= 1"),
        ("step", -1, "step is not a whole number in"),
        ("step", 1.5, "step is not a whole number in"),
        ("frozen", 1, "frozen is of type int, expected bool"),
        ("changed", [], "changed is of type list, expected str"),
        ("layers", [["x", [-4], 80]], "a side of a shape is not a whole number"),
        ("layers", [["x", [2**40, 2**40], 80]], "a tensor has more than"),
        ("layers", [["x", [4], 80]], "'x' has 80 sampled elements, but 4 in total"),
        ("layers", [["x", [40], 40], ["x", [40], 40]], "two layers have the same name"),
        ("layers", [[["x"], [80], 80]], "the name of a layer is of type list, expected str"),
        ("layers", [["x", [200], 79]], "shape of the gradients does not match the layers"),
    ],
)
def test_heads_of_nonsense(stream, tmp_path: Path, field: str, value: object, message: str):
    path = rewritten(save(stream, tmp_path / "grads.safetensors"), **{field: value})
    with pytest.raises(BadInput) as caught:
        load(path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("place", "message"),
    [(-1, "positions outside of their"), (10**6, "positions outside of their")],
)
def test_an_index_outside_of_its_tensor(stream, tmp_path: Path, place: int, message: str):
    index = stream.index.clone()
    index[3] = place
    with pytest.raises(BadInput, match=message):
        load(rewritten(save(stream, tmp_path / "grads.safetensors"), {"index": index}))


def test_values_that_are_not_finite(stream, tmp_path: Path):
    values = stream.values.clone()
    values[1, 1] = torch.nan
    with pytest.raises(BadInput, match="contain values that are not finite"):
        load(rewritten(save(stream, tmp_path / "grads.safetensors"), {"gradients": values}))


def test_names_are_printable(stream, tmp_path: Path):
    layers = [["\x1b[2J[/bold]", [10**6], 80]]
    found = load(rewritten(save(stream, tmp_path / "grads.safetensors"), layers=layers))
    assert found.layers[0].name == "\\x1b[2J[/bold]"


def test_gradients_have_a_short_repr() -> None:
    stream = Gradients(torch.randn(20, 620), (Layer("w", (20, 31), 620),), batch_size=4)
    text = "Gradients(20 rows of 620 coordinates of 1 tensors, batch_size=4, frozen=True)"
    assert repr(stream) == text
