"""Processes that train one model together see what one alone would see, and one of them tells; two
on one machine.
"""

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
SOME = {"sharded, torch": "plain, torch", "sharded, shares": "plain, torch", "ddp": "plain, torch"}
MORE = {"sharded, ours": "plain, ours", "copies": "plain, ours", "columns": "plain, ours"}
Found = list[dict[str, Any]]

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch knows no processes"
)


def started(folder: Path, which: str) -> Path:
    """Where the processes left what they found; where one fails or hangs, all end."""
    logs = [(folder / f"{rank}.out").open("w") for rank in range(WORLD)]
    running = [
        subprocess.Popen(
            [sys.executable, SCRIPT, str(rank), str(WORLD), folder, which], stdout=log, stderr=log
        )
        for rank, log in enumerate(logs)
    ]
    end = time.monotonic() + 300
    while any(one.poll() is None for one in running) and not any(one.poll() for one in running):
        time.sleep(0.1)
        if time.monotonic() > end:
            break
    for process, log in zip(running, logs, strict=True):
        process.kill()
        process.wait()
        log.close()
    said = "\n".join((folder / f"{rank}.out").read_text()[-3000:] for rank in range(WORLD))
    assert [process.returncode for process in running] == [0] * WORLD, said
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return started(tmp_path_factory.mktemp("ranks"), "some")


@pytest.fixture(scope="module")
def found(folder: Path) -> Found:
    return told(folder)


def told(folder: Path) -> Found:
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


def check(found: Found, name: str, plain: str) -> None:
    """Both processes saw the same, and that is what one process with the whole model sees."""
    one, other = (each[name] for each in found)
    right = found[0][plain]
    # of 128 coordinates, which are others in another order
    among = {"root_median"} if name == "columns" else set()
    assert one == other
    assert differing(one, right) <= among
    assert one["steps"] == right["steps"] == 46
    assert one["rows"] == right["rows"]
    assert one["alerts"] == right["alerts"] == [[44, "", "sudden data change"]]
    for word in ("losses", "norms"):
        (steps, values), (same, wanted) = (zip(*each[word], strict=True) for each in (one, right))
        assert steps == same
        assert values == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", SOME)
def test_they_see_what_one_alone_would_see(found: Found, name: str) -> None:
    check(found, name, SOME[name])


@pytest.mark.slow
def test_other_ways_to_share_a_model(tmp_path: Path) -> None:
    """Our own optimizer, copies of parts, columns in place of rows; states in bfloat16 differ by
    their rounding.
    """
    more = told(started(tmp_path, "more"))
    for name, plain in MORE.items():
        check(more, name, plain)
    one, other = (each["sharded, bfloat16"] for each in more)
    assert one == other
    assert differing(one, more[0]["plain, bfloat16"], close=0.1) <= {"snr", "angle"}


def test_one_process_tells(folder: Path) -> None:
    for name in ("torch", "ddp"):
        rows = read_lines(folder / f"{name}.jsonl")
        assert len([row for row in rows if row["kind"] == "alert"]) == 1
        places = [(row["step"], row["layer"]) for row in rows if row["kind"] == "reading"]
        assert len(places) == len(set(places)) == 24 * 4


def test_they_read_where_all_can(found: Found) -> None:
    assert (
        found[0]["disagreeing"] == found[1]["disagreeing"] == {"steps": [1, 2, 5, 6, 9, 10, 11, 12]}
    )


def test_nobody_waits_for_one_that_does_not_watch(found: Found) -> None:
    """The one that watches tells of its own part: of the last layer the second process holds
    nothing.
    """
    assert found[0]["alone"] == {
        "0": [["0.bias", "0.weight", "2.bias", "2.weight"], 1],
        "1": [["0.bias", "0.weight"], 1],
    }
