"""Two ranks that train one model read what one process would read, and rank 0 reports."""

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
    """The folder with the results of the ranks; if one fails or hangs, all are stopped."""
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
    return read_findings(folder)


def read_findings(folder: Path) -> Found:
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(WORLD)]


def far(one: dict[str, Any], other: dict[str, Any], close: float) -> set[str]:
    """The names of the quantities that differ between two readings."""
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
    """The names of the quantities that differ between all readings of two runs."""
    assert one["readings"].keys() == other["readings"].keys()
    names = set()
    for layer, readings in other["readings"].items():
        for ours, right in zip(one["readings"][layer], readings, strict=True):
            names |= far(ours, right, close)
    return names


def check(found: Found, name: str, plain: str) -> None:
    """Both ranks read the same as one process with the whole model."""
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
def test_ranks_read_what_one_process_would_read(found: Found, name: str) -> None:
    check(found, name, SOME[name])


@pytest.mark.slow
def test_other_kinds_of_sharding_are_read(tmp_path: Path) -> None:
    """Own optimizer, replicated shards, shards of columns; bfloat16 states differ by rounding."""
    more = read_findings(started(tmp_path, "more"))
    for name, plain in MORE.items():
        check(more, name, plain)
    one, other = (each["sharded, bfloat16"] for each in more)
    assert one == other
    assert differing(one, more[0]["plain, bfloat16"], close=0.1) <= {"snr", "angle"}


def test_only_the_first_rank_reports(folder: Path) -> None:
    for name in ("torch", "ddp"):
        rows = read_lines(folder / f"{name}.jsonl")
        assert len([row for row in rows if row["kind"] == "alert"]) == 1
        places = [(row["step"], row["layer"]) for row in rows if row["kind"] == "reading"]
        assert len(places) == len(set(places)) == 24 * 4


def test_ranks_read_when_all_budgets_allow(found: Found) -> None:
    assert (
        found[0]["disagreeing"] == found[1]["disagreeing"] == {"steps": [1, 2, 5, 6, 9, 10, 11, 12]}
    )


def test_no_rank_waits_for_one_that_does_not_watch(found: Found) -> None:
    """The rank that watches reports its own part; the second rank holds nothing of the last layer."""
    assert found[0]["alone"] == {
        "0": [["0.bias", "0.weight", "2.bias", "2.weight"], 1],
        "1": [["0.bias", "0.weight"], 1],
    }
