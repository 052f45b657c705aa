"""Damaged and malicious files, drawn from a seed; `python attacks.py KIND COUNT SEED FOLDER` prints
figures.

Every file must give a sentence or the very values that were written; a format without checksums may
give others if the reader says that it has none."""

from __future__ import annotations

import json
import os
import pickle
import random
import resource
import struct
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from betaplane.checkpoints import inspect, read_checkpoint
from betaplane.checkpoints.dcp import UNSUMMED as INDEX_UNSUMMED
from betaplane.checkpoints.torch_file import UNSUMMED
from betaplane.errors import BadInput
from betaplane.replay import Gradients, load, save
from betaplane.replay.gradients import Layer

RAN = "ran.txt"
COMMAND = f"touch {RAN}"
SECONDS, MEGABYTES = 2.0, 500.0  # allowed for one file


def corrupted(whole: bytes, draws: random.Random) -> bytes:
    """Cut, overwritten, shifted, or with a few bits turned."""
    data, kind = bytearray(whole), draws.randrange(4)
    at = draws.randrange(len(data))
    if kind == 0:
        return bytes(data[:at])
    if kind == 1:
        data[at : at + draws.randrange(1, 200)] = draws.randbytes(draws.randrange(1, 200))
    elif kind == 2:
        del data[at : at + draws.randrange(1, 50)]
    else:
        for _ in range(draws.randrange(1, 5)):
            data[draws.randrange(len(data))] ^= 1 << draws.randrange(8)
    return bytes(data)


def optimizer_state(named: bool = True) -> dict[str, Any]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(40, 30), torch.nn.Linear(30, 5))
    optimizer = torch.optim.AdamW(model.named_parameters() if named else model.parameters())
    for _ in range(3):
        for p in model.parameters():
            p.grad = torch.randn_like(p)
        optimizer.step()
    return optimizer.state_dict()


def whole_files(folder: Path) -> dict[str, list[Path]]:
    """A checkpoint of every format, with the files of it that are damaged."""
    from torch.distributed import checkpoint

    held = optimizer_state()
    torch.save(held, folder / "zip.pt")
    torch.save(held, folder / "old.pt", _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(False)
    torch.save(held, folder / "unsummed.pt")
    torch.serialization.set_crc32_options(True)
    names, states = held["param_groups"][0]["param_names"], held["state"].values()
    flat = {
        f"state.{name}.{word}": x
        for name, s in zip(names, states, strict=True)
        for word, x in s.items()
    }
    save_file(
        flat, folder / "flat.safetensors", {"betas": "[0.9, 0.999]", "eps": "1e-8", "lr": "1e-3"}
    )
    checkpoint.save({"optim": held}, checkpoint_id=str(folder / "dcp"))
    return {
        **{
            name: [folder / name]
            for name in ("zip.pt", "old.pt", "unsummed.pt", "flat.safetensors")
        },
        "dcp": [folder / "dcp/.metadata", folder / "dcp/__0_0.distcp"],
    }


def values(path: Path) -> tuple[list[Any], bool]:
    """All that is read from a checkpoint, and whether its reader says that damage to it cannot be
    noticed.
    """
    found = read_checkpoint(path)
    layers = [
        (x.name, x.t, x.settings, *((None if y is None else y.tolist()) for y in (x.m, x.v)))
        for x in found.layers
    ]
    return sorted(layers, key=repr), bool({UNSUMMED, INDEX_UNSUMMED} & set(found.notes))


def damaged(count: int, seed: int, folder: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Checkpoints in five formats, each damaged in one file."""
    draws, files = random.Random(seed), whole_files(folder)
    right = {name: repr(values(folder / name)[0]) for name in files}
    for i in range(count):
        name = list(files)[i % len(files)]
        part = draws.choice(files[name])
        yield name, lambda name=name, part=part: _damaged(folder / name, part, right[name], draws)


def _damaged(path: Path, part: Path, right: str, draws: random.Random) -> str:
    before = part.read_bytes()
    part.write_bytes(corrupted(before, draws))
    try:
        inspect(path)
        found, unsummed = values(path)
        return "same" if repr(found) == right else "other, announced" if unsummed else "OTHER"
    finally:
        part.write_bytes(before)


class Runs:
    """Runs a command when it is unpickled."""

    def __init__(self, function: Any = os.system, *args: Any) -> None:
        self.call = function, args or (COMMAND,)

    def __reduce__(self) -> Any:
        return self.call


def archive(path: Path, pickled: bytes, **records: bytes) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", pickled)
        for name, content in records.items():
            file.writestr(f"a/{name}", content)


def nested_key(draws: random.Random, path: Path) -> None:
    archive(path, b"\x80\x02}N" + b"2\x86" * draws.randrange(40, 400) + b"K\x01s.")


def nested_key_in_state(draws: random.Random, path: Path) -> None:
    archive(
        path,
        b"\x80\x02}X\x05\x00\x00\x00state}N" + b"2\x86" * draws.randrange(40, 99) + b"K\x01ss.",
    )


def nests_in_names(draws: random.Random, path: Path) -> None:
    held, nest = optimizer_state(), ["a"]
    for _ in range(draws.randrange(30, 90)):
        nest = [nest, nest]
    group = held["param_groups"][0]
    group[draws.choice(["param_names", "params", "betas", "lr", "eps", "step", "storage"])] = nest
    torch.save(held, path)


def nest_as_state(draws: random.Random, path: Path) -> None:
    held, nest = optimizer_state(), {"a": 1}
    for _ in range(draws.randrange(30, 90)):
        nest = {"a": nest, "b": nest, "c": [nest] * 50}
    held["state"][0][draws.choice(["step", "exp_avg", "exp_avg_sq", "other"])] = nest
    torch.save({"more": nest, "optimizer": held}, path)


def expanded(draws: random.Random, path: Path) -> None:
    held, word = (
        optimizer_state(),
        draws.choice(["exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step"]),
    )
    held["state"][0][word] = torch.zeros(1).expand(draws.choice([300_000_000, 10**12, 2**40]))
    torch.save(held, path)


def shared(draws: random.Random, path: Path) -> None:
    big, n = torch.zeros(draws.randrange(200_000, 900_000)), draws.randrange(500, 2000)
    states = {i: {"step": 1, "exp_avg": big, "exp_avg_sq": big} for i in range(n)}
    torch.save(
        {"state": states, "param_groups": [{"params": list(range(n)), "betas": (0.9, 0.99)}]}, path
    )


def endless(draws: random.Random, path: Path) -> None:
    held, loop = optimizer_state(), list[Any]()
    loop += [loop] * draws.randrange(1, 9)
    held["param_groups"][0]["lr"] = loop
    torch.save({"loop": loop, "optimizer": held}, path)


def many_objects(draws: random.Random, path: Path) -> None:
    archive(
        path,
        b"\x80\x04N"
        + draws.choice([b"}", b"]", b"(", b"\x94", b"\x85", b"2", b")"]) * 8_000_000
        + b".",
    )


def huge_number(draws: random.Random, path: Path) -> None:
    held, number = optimizer_state(), 10 ** draws.randrange(400, 300_000)
    where = draws.choice([held["state"][0], held["param_groups"][0]])
    where[draws.choice(["step", "lr", "params"])] = draws.choice([number, [number]])
    torch.save(held, path)


def long_by_a_length(draws: random.Random, path: Path) -> None:
    code = draws.choice([b"\x96", b"\x8e", b"\x8d"]) + struct.pack(
        "<Q", 10 ** draws.randrange(10, 18)
    )
    archive(
        path,
        b"\x80\x05" + draws.choice([code, b"\x95" + code[1:], b"\x8b\xff\xff\xff\x7f"]) + b"N.",
    )


def calls(draws: random.Random, path: Path) -> None:
    held: Any = {"optimizer": optimizer_state(), "more": Runs()}
    torch.save(held, path, _use_new_zipfile_serialization=draws.random() < 0.5)


def calls_by_name(draws: random.Random, path: Path) -> None:
    name = draws.choice(
        ["os\nsystem", "posix\nsystem", "builtins\neval", "builtins\nexec", "torch\nload", "torch.hub\nload",
         "torch.storage\n_load_from_bytes", "collections\n__builtins__", "numpy.testing._private.utils\nrunstring",
         "torch.distributed.elastic\nos.system", "lightning\nsys.modules", "subprocess\nPopen", "\x1b[2J\nsystem"]
    )  # fmt: skip
    code = (
        f"c{name}\n".encode() + b"(X" + struct.pack("<I", len(COMMAND)) + COMMAND.encode() + b"tR."
    )
    archive(path, b"\x80\x02" + code)


def bare_pickle(draws: random.Random, path: Path) -> None:
    path.write_bytes(pickle.dumps(Runs(), protocol=draws.randrange(2, 6)))


def bounds(draws: random.Random, path: Path) -> None:
    """A tensor that reaches outside of its storage, or is described by nonsense."""
    torch.save(optimizer_state(), path)
    with zipfile.ZipFile(path) as file:
        records = {name: file.read(name) for name in file.namelist()}
    name = next(name for name in records if name.endswith("data.pkl"))
    number = draws.choice(
        [
            b"M\xff\xff",
            b"J\xff\xff\xff\xff",
            b"J\xff\xff\xff\x7f",
            b"\x8a\x08" + b"\xff" * 7 + b"\x7f",
            b"]",
            b"N",
        ]
    )
    data, at = (
        records[name],
        [i for i in range(len(records[name])) if records[name][i : i + 2] in (b"K\x1e", b"K\x05")],
    )
    place = draws.choice(at)
    records[name] = data[:place] + number + data[place + 2 :]
    with zipfile.ZipFile(path, "w") as file:
        for each, content in records.items():
            file.writestr(each, content)


def squeezed(draws: random.Random, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", b"\x80\x02N" + b"2" * draws.randrange(10**6, 2 * 10**8) + b".")


def overlapping(draws: random.Random, path: Path) -> None:
    """Many records of an archive over the same bytes."""
    archive(path, b"\x80\x02N.", body=bytes(draws.randrange(10**6, 10**7)))
    data = path.read_bytes()
    start = data.index(b"PK\x01\x02", len(data) - 400)
    second = data.index(b"PK\x01\x02", start + 1)
    end = data.index(b"PK\x05\x06", second)
    entry, n = data[second:end], draws.randrange(1000, 30_000)
    copies = b"".join(entry[:-6] + b"%06d" % i for i in range(n))
    directory = data[start:second] + copies
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, n + 1, n + 1, len(directory), start, 0)
    path.write_bytes(data[:start] + directory + tail)


def deep_json(draws: random.Random, path: Path) -> None:
    nest = draws.choice(["[", '{"a":']) * draws.randrange(10_000, 3_000_000)
    save_file({"0.exp_avg": torch.ones(3)}, path, {draws.choice(["betas", "lr", "other"]): nest})


def long_head(draws: random.Random, path: Path) -> None:
    length = draws.choice([10**9, 2**63, 99_000_000, 21_000_000])
    path.write_bytes(struct.pack("<Q", length) + b"{")
    os.truncate(path, min(length, 10**9) + 8)  # sparse


def odd_head(draws: random.Random, path: Path) -> None:
    one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    changes = [
        {"data_offsets": [4, 12]},
        {"shape": [-2]},
        {"shape": [2**62, 4]},
        {"dtype": "F9"},
        {"data_offsets": [8, 0]},
    ]
    head = json.dumps({"exp_avg": {**one, **draws.choice(changes)}, "exp_avg_sq": one})
    head = head.replace("exp_avg_sq", draws.choice(["exp_avg_sq", "exp_avg", "\x1b[2Jexp_avg"]))
    path.write_bytes(struct.pack("<Q", len(head)) + head.encode() + bytes(12))


def control_characters(draws: random.Random, path: Path) -> None:
    held, bad = optimizer_state(), draws.choice(["\x1b[2J\x1b[H", "a\nb", "\u202egnp", "\x9b31m"])
    held["param_groups"][0]["param_names"][0] = bad
    held["param_groups"][0]["lr"] = draws.choice([0.1, bad])
    torch.save(held, path)


MALICIOUS = [
    nested_key, nested_key_in_state, nests_in_names, nest_as_state, expanded, shared, endless, many_objects,
    huge_number, long_by_a_length, calls, calls_by_name, bare_pickle, bounds, squeezed, overlapping, deep_json,
    long_head, odd_head,
    control_characters,
]  # fmt: skip
SAFETENSORS = (deep_json, long_head, odd_head)


def malicious(count: int, seed: int, folder: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Files that are made to run code, to hang, to fill memory, or to write into the terminal."""
    draws = random.Random(seed)
    for i in range(count):
        write = MALICIOUS[i % len(MALICIOUS)]
        path = folder / ("bad.safetensors" if write in SAFETENSORS else "bad.pt")
        path.unlink(missing_ok=True)
        write(draws, path)
        yield write.__name__, lambda path=path: f"{len(inspect(path).rows)} layers"


def stream() -> Gradients:
    layers = (Layer("0.weight", (3, 4), 5), Layer("0.bias", (4,), 2))
    drawn = torch.randn(6, 7, generator=torch.Generator().manual_seed(0))
    return Gradients(
        drawn,
        layers,
        torch.tensor([0, 3, 7, 8, 11, 1, 3]),
        batch_size=8,
        step=2,
        about={"problem": "x"},
    )


NONSENSE = [
    0,
    -1,
    -3,
    1.5,
    float("nan"),
    float("inf"),
    10**400,
    "8",
    [8],
    None,
    True,
    {},
    "\x1b[2J",
    [[]],
    2**62,
]
PLACES: list[tuple[Any, ...]] = [
    ("batch_size",), ("step",), ("frozen",), ("changed",), ("layers",), ("layers", 0), ("layers", 0, 0),
    ("layers", 0, 1), ("layers", 0, 1, 0), ("layers", 0, 2), ("layers", 1, 0),
]  # fmt: skip


def gradients(count: int, seed: int, folder: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Files of recorded gradients: damaged, with nonsense in the head, with another index, as 0.1.0
    wrote them.
    """
    from safetensors import safe_open

    draws, path, whole = random.Random(seed), folder / "grads.safetensors", stream()
    data = save(whole, path).read_bytes()
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del metadata["digest"]
    for i in range(count):
        if i % 2:
            path.write_bytes(corrupted(data, draws))
        else:
            head = json.loads(metadata["stream"])
            target, (*way, last) = head, draws.choice(PLACES)
            for step in way:
                target = target[step]
            target[last] = draws.choice(NONSENSE)
            index = tensors["index"] - (i % 8 == 0) * draws.choice([1, 100, 2**62])
            save_file({**tensors, "index": index}, path, {**metadata, "stream": json.dumps(head)})
        yield ("damaged" if i % 2 else "nonsense"), lambda: _gradients(path, whole)


def _gradients(path: Path, whole: Gradients) -> str:
    found = load(path)
    assert found.batch_size is None or found.batch_size >= 1
    assert found.step >= 0
    assert all(0 <= layer.sampled <= layer.size for layer in found.layers)
    same = torch.equal(found.values, whole.values) and torch.equal(found.index, whole.index)
    fields = (found.layers, found.batch_size, found.step, found.frozen, found.changed)
    return (
        "same"
        if same and fields == (whole.layers, 8, 2, True, "")
        else "valid"
        if same
        else "OTHER"
    )


KINDS = {"damaged": damaged, "malicious": malicious, "gradients": gradients}


def measured(kind: str, count: int, seed: int, folder: Path) -> dict[str, Any]:
    """What came of the files, and the most time and memory that one of them took."""
    outcomes: dict[str, int] = {}
    faults, slowest, peak = list[str](), (0.0, ""), (_megabytes(), "start")
    for name, read in KINDS[kind](count, seed, folder):
        before, reset = _seconds(), _reset_peak()
        try:
            outcome = read()
        except BadInput as error:
            outcome = "refused"
            if not str(error).isprintable():
                faults.append(f"{name}: {error!s}")
        except BaseException as error:
            outcome = "TRACEBACK"
            faults.append(f"{name}: {error!r}"[:300])
        if outcome == "OTHER":
            faults.append(f"{name}: other values, and no word of it")
        slowest = max(slowest, (_seconds() - before, name))
        peak = max(peak, (_megabytes(), name)) if reset else (_megabytes(), name)
        outcome = "read" if outcome[0].isdigit() else outcome
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    if Path(RAN).exists():
        faults.append("code in a file was run")
    return {
        "kind": kind,
        "files": count,
        "outcomes": outcomes,
        "faults": faults,
        "seconds": slowest,
        "megabytes": peak,
    }


def _seconds() -> float:
    """Processor time of this process: what others do on the machine is not in it."""
    return time.process_time()


def _reset_peak() -> bool:
    """Reset the measured peak of memory, so that the writing of a file does not count."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _megabytes() -> float:
    """The largest resident memory since the last reset."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    kind, count, seed, folder = sys.argv[1:]
    os.chdir(folder)
    print(json.dumps(measured(kind, int(count), int(seed), Path(folder))))
