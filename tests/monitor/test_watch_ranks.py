"""Processes that train one model together see what one alone would see, and one of them tells; two on one machine."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from betaplane.monitor import read_lines

SCRIPT = Path(__file__).with_name("watch_ranks.py")
WORLD = 2
SAME = ("sharded, torch", "sharded, ours", "sharded, shares", "copies", "columns", "ddp")

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch knows no processes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes left what they found; where one fails or hangs, all end."""
    folder = tmp_path_factory.mktemp("ranks")
    logs = [(folder / f"{rank}.out").open("w") for rank in range(WORLD)]
    command = [sys.executable, SCRIPT]
    started = [
        subprocess.Popen([*command, str(rank), str(WORLD), folder], stdout=log, stderr=log)
        for rank, log in enumerate(logs)
    ]
    end = time.monotonic() + 200
    while any(one.poll() is None for one in started) and not any(one.poll() for one in started):
        time.sleep(0.1)
        if time.monotonic() > end:
            break
    for process, log in zip(started, logs, strict=True):
        process.kill()
        process.wait()
        log.close()
    said = "\n".join((folder / f"{rank}.out").read_text()[-3000:] for rank in range(WORLD))
    assert [process.returncode for process in started] == [0] * WORLD, said
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(WORLD)]


def far(one: dict[str, Any], other: dict[str, Any], close: float) -> set[str]:
    """The names of what differs between two readings."""
    names = set()
    for name, right in other.items():
        value = one[name]
        if isinstance(right, float) and math.isfinite(right):
            if not abs(value - right) <= close * abs(right) + 1e-7:
                names.add(name)
        elif value != right:
            names.add(name)
    return names


def differing(one: dict[str, Any], other: dict[str, Any], close: float = 1e-5) -> set[str]:
    """The names of what differs between all readings of two runs."""
    assert one["readings"].keys() == other["readings"].keys()
    names = set()
    for layer, readings in other["readings"].items():
        for ours, right in zip(one["readings"][layer], readings, strict=True):
            names |= far(ours, right, close)
    return names


@pytest.mark.parametrize("name", SAME)
def test_the_figures_are_those_of_the_whole(found: list[dict[str, Any]], name: str) -> None:
    plain = found[0]["plain, ours" if name.endswith("ours") else "plain, torch"]
    together = found[0][name]
    among = {"root_median"} if name == "columns" else set()  # of 128 coordinates, which are others in another order
    assert differing(together, plain) <= among
    assert together["steps"] == plain["steps"] == 46
    assert together["rows"] == plain["rows"]
    for word in ("losses", "norms"):
        steps, values = zip(*together[word], strict=True)
        right = dict(plain[word])
        assert list(values) == pytest.approx([right[step] for step in steps], rel=1e-5)
        assert len(steps) == len(right)


@pytest.mark.parametrize("name", [*SAME, "sharded, bfloat16"])
def test_all_processes_see_the_same(found: list[dict[str, Any]], name: str) -> None:
    one, other = (each[name] for each in found)
    assert one == other


@pytest.mark.parametrize("name", [*SAME, "sharded, bfloat16"])
def test_the_alarms_are_those_of_the_whole(found: list[dict[str, Any]], name: str) -> None:
    assert found[0][name]["alerts"] == found[0]["plain, torch"]["alerts"] == [[44, "", "sudden data change"]]


def test_states_in_bfloat16_differ_by_their_rounding(found: list[dict[str, Any]]) -> None:
    wide = differing(found[0]["sharded, bfloat16"], found[0]["plain, bfloat16"], close=0.1)
    assert wide <= {"snr", "angle"}


def test_one_process_tells(folder: Path) -> None:
    for name in ("torch", "ours", "bfloat16", "ddp"):
        rows = read_lines(folder / f"{name}.jsonl")
        assert len([row for row in rows if row["kind"] == "alert"]) == 1
        places = [(row["step"], row["layer"]) for row in rows if row["kind"] == "reading"]
        assert len(places) == len(set(places)) == 24 * 4


def test_they_read_where_all_can(found: list[dict[str, Any]]) -> None:
    assert found[0]["disagreeing"] == found[1]["disagreeing"] == {"steps": [1, 2, 5, 6, 9, 10, 11, 12]}


def test_nobody_waits_for_one_that_does_not_watch(found: list[dict[str, Any]]) -> None:
    """The one that watches tells of its own part: of the last layer the second process holds nothing."""
    assert found[0]["alone"] == {
        "0": [["0.bias", "0.weight", "2.bias", "2.weight"], 1],
        "1": [["0.bias", "0.weight"], 1],
    }
