"""Damaged, foreign and hostile files end with a sentence, and nothing in them is run."""

from __future__ import annotations

import io
import os
import pickle
import random
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from checkpoint_files import CodedTensor, distributed, foreign, forget, saved, trained, zero_shards
from safetensors.torch import save_file

import betaplane
from betaplane.checkpoints import inspect
from betaplane.errors import BadInput

RAN = "ran.txt"


class Hostile:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return os.system, (f"touch {RAN}",)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not Path(RAN).exists(), "code in a file was run"


def refused(path: str | Path, message: str = "") -> str:
    with pytest.raises(BadInput) as error:
        inspect(path)
    sentence = str(error.value)
    assert message in sentence
    assert "\n" not in sentence
    assert str(path) in sentence
    return sentence


def empty() -> None:
    Path("bad").write_bytes(b"")


def words() -> None:
    Path("bad").write_text("state: none\n" * 50)


def zeros() -> None:
    Path("bad").write_bytes(bytes(5000))


def cut() -> None:
    saved(trained()[1].state_dict(), Path("bad"))
    Path("bad").write_bytes(Path("bad").read_bytes()[:-3000])


def start_of_an_archive() -> None:
    Path("bad").write_bytes(b"PK\x03\x04" + bytes(100))


def another_archive() -> None:
    with zipfile.ZipFile("bad", "w") as archive:
        archive.writestr("notes.txt", "words")


def squeezed() -> None:
    with zipfile.ZipFile("bad", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bad/data.pkl", "words" * 999)


def numbers() -> None:
    torch.save(3, "bad")


def a_model() -> None:
    saved(trained()[0].state_dict(), Path("bad"))


def momentum() -> None:
    saved(trained(torch.optim.SGD)[1].state_dict(), Path("bad"))


def not_laid_out() -> None:
    torch.save({"state": {0: {"exp_avg": "words"}}, "param_groups": [3]}, "bad")


def hostile() -> None:
    torch.save({"optimizer": trained()[1].state_dict(), "more": Hostile()}, "bad")


def hostile_and_old() -> None:
    torch.save({"state": Hostile()}, "bad", _use_new_zipfile_serialization=False)


def bare_pickle() -> None:
    Path("bad").write_bytes(pickle.dumps(Hostile()))


def unknown_class() -> None:
    torch.save({"state": foreign("acme.codes", "Runner")(), "param_groups": []}, "bad")
    forget("acme")


def empty_folder() -> None:
    Path("bad").mkdir()


def folder_of_two() -> None:
    zero_shards(Path("step1"))
    Path("bad").mkdir()
    shutil.copytree("step1", "bad/step1")
    shutil.copytree("step1", "bad/step2")


def hostile_index() -> None:
    distributed({"optim": trained()[1].state_dict()}, Path("bad"))
    Path("bad/.metadata").write_bytes(pickle.dumps(Hostile()))


def hostile_part() -> None:
    distributed({"optim": trained()[1].state_dict()}, Path("bad"))
    buffer = io.BytesIO()
    torch.save(Hostile(), buffer)
    file = Path("bad/__0_0.distcp")
    file.write_bytes(
        buffer.getvalue() + bytes(max(0, file.stat().st_size - len(buffer.getvalue())))
    )


def index_pointing_outside() -> None:
    distributed({"optim": trained()[1].state_dict()}, Path("bad"))
    shutil.copy("bad/__0_0.distcp", "outside.distcp")
    index = pickle.loads(Path("bad/.metadata").read_bytes())
    for entry in index.storage_data.values():
        entry.relative_path = "../outside.distcp"
    Path("bad/.metadata").write_bytes(pickle.dumps(index))


def file_of_the_index_is_gone() -> None:
    distributed({"optim": trained()[1].state_dict()}, Path("bad"))
    Path("bad/__0_0.distcp").unlink()


ROWS = {
    empty: "The file is empty: got 'bad'; expected an optimizer's state on disk",
    words: "The file is damaged, or not a torch checkpoint",
    zeros: "The file is damaged, or not a torch checkpoint",
    cut: "The archive is damaged or cut short",
    start_of_an_archive: "The archive is damaged or cut short",
    another_archive: "The file is damaged, or not a torch checkpoint",
    squeezed: "The archive has compressed records, so torch did not write it",
    numbers: "The file contains no state of an Adam-type optimizer",
    a_model: "The file contains no state of an Adam-type optimizer",
    momentum: "The file contains no state of an Adam-type optimizer",
    not_laid_out: "The state in this file is not laid out as an optimizer's",
    hostile: "The pickle in this file would call posix.system, so it was not opened",
    hostile_and_old: "so it was not opened",
    bare_pickle: "The pickle in this file would call posix.system, so it was not opened",
    unknown_class: "The pickle in this file would call acme.codes.Runner, so it was not opened",
    empty_folder: "The folder contains no checkpoint, or several",
    folder_of_two: "The folder contains no checkpoint, or several",
    hostile_index: "The pickle in this file would call posix.system, so it was not opened",
    hostile_part: "",
    index_pointing_outside: "The folder is damaged (its index points outside of it)",
    file_of_the_index_is_gone: "The folder is damaged (FileNotFoundError)",
}


@pytest.mark.parametrize(
    ("write", "message"), ROWS.items(), ids=lambda x: getattr(x, "__name__", "")
)
def test_a_sentence(write, message: str):
    write()
    sentence = refused("bad", message)
    assert sentence.endswith("Try: torch.save(optimizer.state_dict(), 'opt.pt')")


def test_no_file_at_all():
    refused("nowhere.pt", "There is no such checkpoint")
    refused("nowhere.safetensors", "There is no such checkpoint")


def test_safetensors():
    Path("bad.safetensors").write_bytes(b"\xff" * 64)
    refused("bad.safetensors", "This is not a complete safetensors file")
    save_file({"weight": torch.ones(3)}, "model.safetensors")
    refused("model.safetensors", "The file contains no state of an Adam-type optimizer")
    save_file(
        {"exp_avg": torch.ones(3), "exp_avg_sq": torch.ones(3)}, "words.safetensors", {"lr": "abc"}
    )
    refused("words.safetensors", "an optimizer's (lr is 'abc', expected one number)")


def test_the_eps_of_adafactor_is_no_other_rules():
    held = trained(betaplane.Adafactor)[1].state_dict()
    refused(saved(held, Path("opt.pt")), "The file contains no state of an Adam-type optimizer")


NO_SETTINGS = [
    ({"betas": (1.0, 0.999)}, "(beta1 is 1, expected [0, 1))"),
    ({"betas": (0.9, 1.0)}, "(beta2 is 1, expected [0, 1))"),
    ({"betas": (0.9, float("nan"))}, "(beta2 is nan, expected [0, 1))"),
    ({"betas": 0.9}, "(betas is 0.9, expected two numbers)"),
    ({"lr": [1.0]}, "(lr is [1.0], expected one number)"),
]
NO_STEPS = [
    (torch.tensor([3.0, 4.0]), "tensor([3., 4.])"),
    ([3], "[3]"),
    ((3, 4), "(3, 4)"),
    ({"a": 3}, "{'a': 3}"),
    ("three", "'three'"),
    (10**400, "1000"),
]
NO_MOMENTS = [
    (lambda: torch.ones(3).to_sparse(), "is sparse_coo, expected a dense tensor"),
    (lambda: torch.ones(3, device="meta"), "is on meta, expected a dense tensor"),
    (
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        "is nested, expected a dense tensor",
    ),
]
NO_SCALES = [
    ([1.0], "(scales of exp_avg of '0.weight' is a list, expected a tensor)"),
    ("words", "is a str, expected a tensor"),
    (
        torch.ones(3),
        "(the scales of exp_avg of '0.weight' are (3,) torch.float32, expected (64, 1) floats)",
    ),
    (torch.ones(1), "are (1,) torch.float32, expected (64, 1) floats"),
    (torch.ones(64, 1, dtype=torch.bool), "are (64, 1) torch.bool, expected (64, 1) floats"),
    (torch.ones(64, 1).to_sparse(), "is sparse_coo, expected a dense tensor"),
]


@pytest.mark.parametrize(("changes", "message"), NO_SETTINGS)
def test_invalid_settings_raise(changes: dict, message: str):
    held = trained(steps=1)[1].state_dict()
    held["param_groups"][0] |= changes
    refused(saved(held, Path("opt.pt")), message)


@pytest.mark.parametrize(("step", "message"), NO_STEPS, ids=lambda x: type(x).__name__)
def test_invalid_steps_raise(step, message: str):
    held = trained(steps=1)[1].state_dict()
    held["state"][0]["step"] = step
    refused(saved(held, Path("opt.pt")), f"(step of '0.weight' is {message}")


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(("moment", "message"), NO_MOMENTS)
@pytest.mark.parametrize("word", ["exp_avg", "exp_avg_sq"])
def test_moments_that_hold_no_numbers_in_order(
    moment: Callable[[], torch.Tensor], message: str, word: str
):
    held = trained(steps=1)[1].state_dict()
    held["state"][0][word] = moment()
    refused(saved(held, Path("opt.pt")), f"({word} of '0.weight' {message}")


@pytest.mark.parametrize(("scale", "message"), NO_SCALES)
@pytest.mark.parametrize("storage", ["8bit", "dynamic 8bit"])
def test_scales_that_do_not_fit_their_codes(scale, message: str, storage: str):
    held = trained(betaplane.AdamW, steps=1, storage=storage)[1].state_dict()
    held["state"][0]["exp_avg_scale"] = scale
    refused(saved(held, Path("opt.pt")), message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"absmax1": torch.ones(19)},
            "has torch.uint8 codes, 19 scales, a map of 256, expected torch.uint8, 20, 256",
        ),
        ({"qmap1": torch.ones(9)}, "20 scales, a map of 9, expected"),
        ({"state1": torch.ones(64, 80)}, "has torch.float32 codes"),
        ({"qmap1": "words"}, "(map of state1 of '0.weight' is a str, expected a tensor)"),
        ({"absmax1": None}, "(scales of state1 of '0.weight' is a NoneType, expected a tensor)"),
    ],
)
def test_codes_of_bitsandbytes_that_do_not_fit(changes: dict, message: str):
    held = trained(steps=1)[1].state_dict()
    parts = {"state": torch.ones(64, 80).byte(), "qmap": torch.ones(256), "absmax": torch.ones(20)}
    held["state"][0] = {
        "step": 1,
        **{f"{word}{i}": x for i in (1, 2) for word, x in parts.items()},
        **changes,
    }
    refused(saved(held, Path("opt.pt")), message)


def test_codes_of_torchao_that_do_not_fit():
    held = trained(steps=1)[1].state_dict()
    made = foreign("torchao.optim.subclass_8bit", "OptimState8bit", CodedTensor)
    held["state"][0]["exp_avg"] = made.of(
        torch.ones(64, 80).byte(), torch.ones(256), torch.ones(19)
    )
    saved(held, Path("opt.pt"))
    forget("torchao")
    refused(
        "opt.pt",
        "exp_avg of '0.weight' has torch.uint8 codes, 19 scales, a map of 256, expected torch.uint8, 20",
    )


def test_steps_between_0_and_1():
    held = trained(steps=1)[1].state_dict()
    held["state"][0]["step"] = 1e-20
    saved(held, Path("opt.pt"))
    assert inspect("opt.pt").rows


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"eps": -1.0},
            "eps is out of range: got -1.0; expected [0, inf) (inspect). Try: eps=1e-8",
        ),
        ({"eps": float("nan")}, "eps is out of range: got nan"),
        ({"betas": (0.9, 1.0)}, "beta2 is out of range: got 1.0"),
        ({"trained": (-1.0, 0.9)}, "beta1 is out of range: got -1.0"),
    ],
)
def test_bad_options(options: dict, message: str):
    saved(trained()[1].state_dict(), Path("opt.pt"))
    with pytest.raises(BadInput, match=re.escape(message)):
        inspect("opt.pt", **options)


def corrupted(whole: bytes, random: random.Random) -> bytes:
    """Cut, overwritten, shifted, or with a few bits turned."""
    data = bytearray(whole)
    at = random.randrange(len(data))
    kind = random.randrange(4)
    if kind == 0:
        return bytes(data[:at])
    if kind == 1:
        data[at : at + random.randrange(1, 200)] = random.randbytes(random.randrange(1, 200))
    elif kind == 2:
        del data[at : at + random.randrange(1, 50)]
    else:
        for _ in range(random.randrange(1, 5)):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(data)


def fuzzed(count: int, seed: int) -> int:
    """How many of so many corrupted files are refused with one line."""
    whole = saved(trained(width=8)[1].state_dict(), Path("opt.pt")).read_bytes()
    draws, refusals = random.Random(seed), 0
    for _ in range(count):
        data = corrupted(whole, draws)
        Path("opt.pt").write_bytes(data)
        try:
            inspect("opt.pt")
            refusals += data == whole
        except BadInput as error:
            refusals += "\n" not in str(error)
    return refusals


@pytest.mark.parametrize("seed", [1, 2])
def test_every_corrupted_file_is_refused(seed: int):
    assert fuzzed(250, seed) == 250


def test_corrupted_folders():
    distributed({"optim": trained(width=8)[1].state_dict()}, Path("dcp"))
    draws = random.Random(3)
    files = {path: path.read_bytes() for path in (Path("dcp/.metadata"), Path("dcp/__0_0.distcp"))}
    refusals = 0
    for i in range(40):
        path = list(files)[i % 2]
        path.write_bytes(corrupted(files[path], draws))
        try:
            inspect("dcp")
        except BadInput as error:
            refusals += "\n" not in str(error)
        path.write_bytes(files[path])
    assert refusals >= 20
