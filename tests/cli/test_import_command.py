"""`betaplane import`: a map, the next runs, JSON, and sentences for bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import ended


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    rows = ["beta2,lr,seed,final_loss"]
    for _ in range(30):
        beta2, lr = 1 - 10 ** -random.uniform(0, 4), 10 ** random.uniform(-4, -1)
        rows.append(f"{beta2},{lr},0,{0.1 if beta2 > 0.9 else 2.2}")
    Path("sweep.csv").write_text("\n".join(rows))
    return tmp_path


def test_import_prints_the_map_and_the_next_runs(capsys):
    code, out, _ = ended("import sweep.csv --initial 2.3 --next 3 --store kept.sqlite", capsys)
    assert code == 0
    assert out.startswith("Where Adam converges: sweep")
    assert "runs of a sweep, the plane inferred from them · 30 runs" in " ".join(out.split())
    proposed = out.partition("The 3 runs that are the most informative next:\n")[2].splitlines()
    assert all(line.startswith("  beta2=0.") and "  lr=" in line for line in proposed[:3])
    assert proposed[3:] == ["out/sweep-beta2-lr.png", "out/sweep-beta2-lr.html"]
    assert Path("kept.sqlite").exists()
    assert Path("out/sweep-beta2-lr.html").exists()


def test_import_prints_json(capsys):
    code, out, _ = ended("import sweep.csv --initial 2.3 --next 2 --json", capsys)
    payload = json.loads(out, parse_constant=pytest.fail)
    assert code == 0
    assert payload["imported"] == payload["trainings"] == 30
    assert [sorted(settings) for settings in payload["next"]] == [["beta2", "lr"]] * 2
    assert len(payload["points"]) == 30
    assert {point["verdict"] for point in payload["points"]} == {"good", "failing"}
    assert {"p_fail", "verdict"} <= payload["cells"][0].keys()


@pytest.mark.parametrize(
    ("words", "message"),
    {
        "import nowhere.csv": "There is no such sweep: got 'nowhere.csv'",
        "import sweep.csv": "Try: --initial 2.3",
        "import sweep.csv --initial 2.3 --x beta1": "The runs do not vary beta1: expected one of beta2, lr (--x)",
        "import sweep.csv --initial 2.3 --x bet2": "Try: --x beta2",
        "import sweep.csv --initial 2.3 --best 5": "not below the loss before training: got 5.0; expected",
        "import sweep.csv --initial 2.3 --good 2": "The thresholds are not in order: got (2.0, 0.5)",
        "import sweep.csv --initial 2.3 --next 0": "out of range: got 0; expected [1, 1000] (--next)",
        "import sweep.csv --loss acc": "There is no column 'acc'",
    }.items(),
)
def test_bad_input_prints_one_sentence(words, message, capsys):
    code, out, err = ended(words, capsys)
    assert (code, out) == (2, "")
    assert message in err
