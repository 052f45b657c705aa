"""`betaplane map --plan`: text and JSON, nothing written, bad input as sentences."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from commands import PROBLEMS, ended

from betaplane.cli.map_plan import duration
from betaplane.maps import map_phases


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(PROBLEMS)
    return tmp_path


def test_a_plan_prints_the_cost_and_writes_nothing(capsys):
    code, out, _ = ended(
        "map mine.py:fine --points 4 --workers 0 --engine plain --plan --plan-workers 64"
        " --plan-speed 10",
        capsys,
    )
    assert code == 0
    assert "4 x 4 cells, 20 steps each" in out
    assert "floating-point operations" in out
    assert "64 workers of speed 10" in out
    assert os.listdir() == ["mine.py"]


def test_a_plan_prints_json(capsys):
    code, out, _ = ended("map mine.py:trainer --points 4 --workers 0 --plan --json"
                         " --run-seconds 60 --plan-workers 2", capsys)  # fmt: skip
    plan = json.loads(out, parse_constant=pytest.fail)
    assert (code, plan["engine"], plan["flops"]) == (0, "callable", None)
    assert plan["worker_hours"] == pytest.approx(plan["runs"] / 60, rel=1e-3)
    assert plan["elsewhere"]["seconds"] < plan["seconds"] < 60 * plan["runs"] + 60
    assert plan["elsewhere"]["seconds"] >= 60 * plan["runs"] / 2
    assert os.listdir() == ["mine.py"]


def test_stored_runs_are_counted_and_the_store_stays_as_it_is(capsys):
    store = Path("runs.sqlite")
    map_phases("mine.py:trainer", points=3, seeds=1, dense=True, search_lr=False, store=store,
               workers=0)  # fmt: skip
    before = store.read_bytes()
    capsys.readouterr()
    command = "map mine.py:trainer --points 3 --seeds 1 --dense --lr fixed --store runs.sqlite"
    _, out, _ = ended(f"{command} --workers 0 --plan", capsys)
    assert "about 9 runs in 1 round" in out
    assert "the store has 9 runs" in out
    assert store.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("--plan-workers 4", "--plan-workers describes a plan"),
        ("--plan --plan-workers 0", "--plan-workers is out of range"),
        ("--plan --plan-speed 0", "--plan-speed is out of range"),
        ("--plan --plan-speed nan", "--plan-speed is out of range"),
        ("--plan --run-seconds -1", "--run-seconds is out of range"),
        ("--plan --status", "--plan and --status are given: expected one of them"),
        ("--plan --merge other.sqlite", "--plan and --merge are given: expected one of them"),
    ],
)
def test_bad_options_of_a_plan_are_a_sentence(capsys, arguments, text):
    code, out, err = ended(f"map digits {arguments}", capsys)
    assert (code, out) == (2, "")
    assert err.startswith(f"betaplane: {text}")
    assert len(err.splitlines()) == 1


def test_durations_have_a_suitable_unit():
    texts = [duration(seconds) for seconds in (0.5, 119, 121, 7199, 7201, 3 * 86400)]
    assert texts == ["0.5 s", "119 s", "2 min", "120 min", "2 h", "3 days"]
