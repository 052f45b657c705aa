"""`betaplane status`: the report of a map, from any machine that sees the folder."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from betaplane.cli.main import main
from betaplane.errors import BadInput
from betaplane.maps import map_phases
from betaplane.maps.store.report import Report, Reporter, read_report, report_path
from betaplane.problems import Trainer


def falls(settings: dict[str, float], seed: int) -> list[float]:
    return [1.0, 0.9 if settings["beta2"] < 0.9 else 0.0]


def fails(settings: dict[str, float], seed: int) -> list[float]:
    raise RuntimeError("no more")


def status(path: Path, capsys: pytest.CaptureFixture[str]) -> dict:
    with pytest.raises(SystemExit) as left:
        main(["status", str(path), "--json"])
    assert not left.value.code
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "map.sqlite"
    map_phases(Trainer("mine", falls), points=3, seeds=1, workers=0, search_lr=False, store=path)
    return path


def watched(settings: dict[str, float], seed: int) -> list[float]:
    STATUS.append(read_report(PATH[0]))
    return [1.0, 0.0]


PATH: list[Path] = []
STATUS: list[Report | None] = []


def test_a_map_is_reported_while_it_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("betaplane.maps.store.report.WRITE_SECONDS", 0.0)
    PATH[:] = [tmp_path / "map.sqlite"]
    trainer = Trainer("mine", watched)
    map_phases(trainer, points=3, seeds=1, workers=0, lr=0.01, search_lr=False, store=PATH[0])
    reports = [report for report in STATUS if report is not None]
    assert len(reports) == 9, "a run began before the first report"
    done = [report.done for report in reports]
    assert done == sorted(done)
    assert done[-1] >= 6, "runs that ended were not reported"
    assert {(report.executor, report.problem, report.wanted) for report in reports[1:]} == {
        ("this process", "mine", 9)
    }
    assert all(report.is_running and not report.is_elsewhere for report in reports)
    assert not report_path(PATH[0]).exists()


def test_a_finished_map_has_its_store_only(store: Path, capsys):
    rows = status(store, capsys)
    assert (rows["problem"], rows["trainings"]) == ("mine", 27)
    assert "map" not in rows


def test_the_store_of_a_map_on_another_machine_stays_closed(store: Path, capsys):
    with Reporter(store, "mine", "Ray, 64 at once") as reporter:
        reporter.report = replace(reporter.report, host="node7")
        reporter._next = 0.0
        reporter.update(done=12, wanted=40, rate=0.5, lost=1)
        store.write_bytes(b"not a database")
        rows = status(store, capsys)
    assert rows["map"] == f"running, process {reporter.report.pid} on node7"
    assert (rows["executor"], rows["runs"]) == ("Ray, 64 at once", "12 of 40 requested so far")
    assert (rows["runs per second"], rows["workers lost"]) == (0.5, 1)


def test_a_map_that_fails_leaves_no_report(tmp_path: Path):
    path = tmp_path / "map.sqlite"
    with pytest.raises(BadInput, match="no more"):
        map_phases(Trainer("mine", fails), points=2, workers=0, store=path)
    assert path.exists()
    assert not report_path(path).exists()


def test_a_map_without_a_report_for_long_is_killed(store: Path, capsys):
    running = Report("mine", "2 worker processes", written=1.0)
    report_path(store).write_text(json.dumps(asdict(running)))
    assert status(store, capsys)["map"].startswith("killed, ")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"problem": 1, "executor": 2}'])
def test_a_damaged_report_is_ignored(store: Path, capsys, text: str):
    report_path(store).write_text(text)
    assert "map" not in status(store, capsys)


def test_a_report_that_cannot_be_written_is_skipped(tmp_path: Path):
    path = tmp_path / "map.sqlite"
    report_path(path).mkdir()
    map_phases(Trainer("mine", falls), points=2, seeds=1, workers=0, search_lr=False, store=path)
    assert not list(tmp_path.glob("*.part"))


def test_a_store_that_does_not_exist_gets_a_sentence(tmp_path: Path, capsys):
    with pytest.raises(SystemExit) as left:
        main(["status", str(tmp_path / "none.sqlite")])
    assert left.value.code == 2
    assert re.match(
        "betaplane: There is no such store: got '.*none.sqlite'", capsys.readouterr().err
    )
