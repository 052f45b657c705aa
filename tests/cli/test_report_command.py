"""`betaplane report`: alarms in the terminal, a page, a picture, JSON; bad input as sentences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from commands import ended

import betaplane
from betaplane.monitor import ALL


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.AdamW(model.named_parameters(), betas=(0.95, 0.85))
    with betaplane.watch(
        optimizer, "run.jsonl", every=1, budget=float("inf"), console=False
    ) as watcher:
        for _ in range(20):
            optimizer.zero_grad()
            loss = model(torch.randn(16, 4)).square().mean()
            loss.backward()
            watcher.loss(loss)
            optimizer.step()
    Path("text.jsonl").write_text("no lines\n")
    Path("empty.jsonl").write_text("")
    Path("nested.jsonl").write_text(
        '{"kind": "reading", "layer": "x", "step": 1, "shape": [null]}\n'
    )
    Path("record.html").write_bytes(Path("run.jsonl").read_bytes())
    Path("folder").mkdir()
    return tmp_path


def test_report_prints_a_watched_run(capsys):
    code, out, err = ended("report run.jsonl", capsys)
    assert (code, err) == (0, "")
    head, loss, first, alarm, written = out.splitlines()
    assert head.startswith("run.jsonl: AdamW, lr 0.001, betas (0.95, 0.85), eps 1e-08")
    assert head.endswith("20 steps, 2 tensors")
    assert loss.startswith("loss ")
    assert first == "First cause: beta1^2 >= beta2, step 1"
    assert alarm.startswith("1. step 1: beta1^2 >= beta2. beta1^2 = 0.9025 >= beta2 = 0.85.")
    assert written == "written: run.html"
    assert "First cause: beta1^2 &gt;= beta2, step 1" in Path("run.html").read_text()


def test_picture_and_page_are_written(capsys):
    code, out, _ = ended(
        "report run.jsonl --out drawn/a.html --png drawn/a.png --quantity snr", capsys
    )
    assert code == 0
    assert out.splitlines()[-1] == "written: drawn/a.html, drawn/a.png"
    assert sorted(path.name for path in Path("drawn").iterdir()) == ["a.html", "a.png"]
    assert Path("drawn/a.png").read_bytes().startswith(b"\x89PNG")
    assert not Path("run.html").exists()


def test_report_prints_json(capsys):
    code, out, err = ended("report run.jsonl --json", capsys)
    payload = json.loads(out, parse_constant=pytest.fail)
    assert (code, err) == (0, "")
    assert [alarm["cause"] for alarm in payload["alarms"]] == ["beta1^2 >= beta2"]
    assert [layer["layer"] for layer in payload["layers"]] == ["weight", "bias"]
    assert payload["layers"][0]["reach"]["largest"] > 0
    assert payload["whole"]["reach"]["largest"] == max(
        layer["reach"]["largest"] for layer in payload["layers"]
    )
    assert payload["whole"]["weight_rms"]["last"] > 0
    assert not Path("run.html").exists()


ROWS = {
    "report gone.jsonl": "The record cannot be read (No such file or directory): got 'gone.jsonl'",
    "report text.jsonl": "Line 1 is not part of a run's record: got b'no lines",
    "report empty.jsonl": "Nothing was read in this run: expected a record of a watched run (report). Try: ",
    "report run.jsonl --run 3": "There is no such run in the record: got 3; expected 1 to 1 (report). Try: ",
    "report run.jsonl --quantity lagg": "Unknown quantity 'lagg'. Did you mean 'lag'? Choose one of: update_rms, lag,",
    "report run.jsonl --out text.jsonl/run.html": "The results cannot be written (",
    "report run.jsonl --out folder": "--out). Try: --out page.html",
    "report run.jsonl --png folder": "--png). Try: --png picture.png",
    "report run.jsonl --out run.jsonl": "The output would replace an input file: got 'run.jsonl'; expected "
    "any "
    "other file (--out). Try: --out page.html",
    "report run.jsonl --png folder/../run.jsonl": "--png). Try: --png picture.png",
    "report record.html": "The output would replace an input file: got 'record.html'",
    "report nested.jsonl": "A line of kind reading has no usable shape: got None; expected lines that watch wrote (",
}


@pytest.mark.parametrize(("words", "message"), ROWS.items(), ids=ROWS)
def test_bad_input_prints_one_sentence(words: str, message: str, capsys):
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    code, out, err = ended(words, capsys)
    assert (code, out) == (2, "")
    assert err.startswith("betaplane: ")
    assert message in err
    assert len(err.splitlines()) == 1
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before


def test_too_distant_readings_are_rejected(capsys):
    rows = [{"kind": "reading", "layer": f"l{i}", "step": i, "lag": 1.0} for i in range(1100)]
    Path("wide.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, err = ended("report wide.jsonl", capsys)
    assert code == 2
    assert (
        "Hardly two readings are of one step: got '1,100 readings of 1,100 layers at 1,100 steps'"
        in err
    )


def test_check_exits_with_1_for_alerts_and_0_without(capsys):
    assert ended("report run.jsonl --check", capsys)[0] == 1
    lines = [line for line in Path("run.jsonl").read_text().splitlines() if '"alert"' not in line]
    Path("calm.jsonl").write_text("\n".join(lines) + "\n")
    assert ended("report calm.jsonl --check", capsys)[0] == 0


def test_rules_are_listed_with_ids_and_thresholds(capsys):
    code, out, _ = ended("report --rules", capsys)
    assert code == 0
    for rule in ALL:
        assert rule.id in out
    code, out, _ = ended("report --rules --json", capsys)
    assert [row["id"] for row in json.loads(out)] == [rule.id for rule in ALL]


def test_report_without_a_file_says_what_it_needs(capsys):
    code, _, err = ended("report", capsys)
    assert code == 2
    assert "There is no record to report" in err
