"""What the command prints, writes and remembers."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from commands import PROBLEMS, ended

HEAVY = (
    "torch", "matplotlib", "plotly", "numpy", "rich.console", "ray", "dask", "distributed", "submitit"
)  # fmt: skip
TINY = "map mine.py:train --points 4 --seeds 1 --boundary-seeds 1 --workers 0"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(PROBLEMS)
    return tmp_path


@pytest.mark.parametrize(
    "code",
    [
        "import betaplane",
        "from betaplane.cli.main import main; main(['--help'])",
        "from betaplane.cli.main import main; main(['map', '--help'])",
    ],
)
def test_help_imports_no_large_package(code: str):
    look = f"import atexit, sys; atexit.register(lambda: print([n for n in {HEAVY} if n in sys.modules])); {code}"
    ran = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.splitlines()[-1] == "[]"


def test_map_of_a_built_in_problem_prints_json(folder: Path, capsys):
    words = "map counterexample:n=5 --points 4 --steps 100 --seeds 1 --lr fixed --json --workers 0"
    code, out, err = ended(words, capsys)
    payload = json.loads(out, parse_constant=pytest.fail)
    assert code == 0
    assert "4 x 4 cells" in err
    assert [path.suffix for path in map(Path, payload["files"])] == [".png", ".html", ".sqlite"]
    assert all(Path(path).stat().st_size > 0 for path in payload["files"])
    assert sorted(map(str, Path("out").iterdir())) == sorted(payload["files"])
    assert len(payload["cells"]) == 16
    again = json.loads(ended(words, capsys)[1])
    assert {**again, "files": 0} == {**payload, "files": 0}


@pytest.mark.parametrize("name", ["fine", "make", "made", "train", "trainer"])
def test_map_accepts_a_problem_of_a_file(folder: Path, capsys, name: str):
    words = f"map mine.py:{name} --points 3 --seeds 1 --boundary-seeds 1 --workers 0 --engine plain --lr fixed --json"
    code, out, err = ended(words, capsys)
    assert code == 0
    assert json.loads(out)["problem"] == {"make": "line", "made": "line", "fine": "line"}.get(
        name, name
    )
    assert "read" in err


def test_output_of_the_user_in_a_worker_goes_to_stderr(folder: Path, capfd):
    _, out, err = ended(f"{TINY.replace('--workers 0', '--workers 1')} --json", capfd)
    assert json.loads(out)["trainings"] > 0
    assert "training" in err.splitlines()


def test_map_accepts_other_axes(folder: Path, capsys):
    _, out, _ = ended(f"{TINY} --x lr --y beta2=0:0.99 --points 4x5 --beta1 0.5 --json", capsys)
    payload = json.loads(out)
    assert (payload["x"]["name"], len(payload["x"]["values"])) == ("lr", 4)
    assert (payload["y"]["name"], payload["y"]["values"][-1], len(payload["y"]["values"])) == (
        "beta2",
        0.99,
        5,
    )
    assert payload["fixed"]["beta1"] == 0.5
    assert Path("out/train-lr-beta2.png").exists()


def test_rerun_reuses_all_runs(folder: Path, capsys):
    _, out, err = ended(TINY, capsys)
    assert "Recommended" in out
    assert "in the store" not in err
    trainings = err.count("training\n")
    _, again, err = ended(TINY, capsys)
    assert again == out
    assert f"; {trainings} of them in the store\n" in err
    assert "training\n" not in err
    assert f"{trainings}/{trainings} 0.0/s" in err


def test_more_seeds_reuse_finished_runs(folder: Path, capsys):
    known = ended(f"{TINY} --dense --points 3", capsys)[2].count("training\n")
    assert (
        ended(f"{TINY} --dense --points 3 --seeds 2", capsys)[2].count("training\n") == known == 9
    )


def test_status_prints_the_contents_of_the_store(folder: Path, capsys):
    ended(TINY, capsys)
    _, out, _ = ended(f"{TINY} --status --json", capsys)
    payload = json.loads(out)
    assert (payload["problem"], payload["under way"], payload["left by dead processes"]) == (
        "train",
        0,
        0,
    )
    assert payload["trainings"] > 0
    _, out, _ = ended(f"{TINY} --status", capsys)
    assert f"trainings  {payload['trainings']}\n" in out


def test_merge_copies_finished_runs(folder: Path, capsys):
    ended(f"{TINY} --store one.sqlite", capsys)
    _, _, err = ended(f"{TINY} --store two.sqlite --merge one.sqlite", capsys)
    assert "runs from one.sqlite into two.sqlite" in err
    assert "training\n" not in err
    assert (
        "merged 0 runs"
        in ended(f"{TINY} --store two.sqlite --merge two.sqlite --status", capsys)[2]
    )


def test_map_stops_at_the_number_of_runs(folder: Path, capsys):
    _, out, err = ended(f"{TINY} --points 12 --trainings 20 --json", capsys)
    payload = json.loads(out)
    assert (payload["trainings"], payload["facts"]["ended"]) == (20, "trainings spent")
    assert "Maximum number of runs reached. Rerun with more --trainings to continue." in err
    assert len([cell for cell in payload["cells"] if not cell["trained"]]) == 124
    _, out, err = ended(f"{TINY} --points 12 --trainings 25 --json", capsys)
    assert json.loads(out)["trainings"] == 25
    assert "; 20 of them in the store" in err


def test_map_stops_at_the_time_limit(folder: Path, capsys):
    Path("slow.py").write_text(
        "import time\ndef train(s, seed):\n    time.sleep(0.2)\n    return [1.0, s['beta2']]"
    )
    words = "map slow.py:train --points 12 --seeds 4 --workers 0 --dense --json --budget"
    _, out, err = ended(f"{words} 2s", capsys)
    first = json.loads(out)
    assert 0 < first["trainings"] <= 13
    assert first["facts"]["ended"] == "time spent"
    assert "Time limit reached. Rerun the same command to continue." in err
    _, out, _ = ended(f"{words} 2s", capsys)
    assert json.loads(out)["trainings"] > first["trainings"]


def test_stacked_runs_stop_at_the_time_limit(folder: Path, capsys):
    words = "map digits --points 12 --dense --workers 0 --json --engine auto --budget 3s"
    _, out, _ = ended(words, capsys)
    payload = json.loads(out)
    assert payload["facts"]["ended"] == "time spent"
    assert 0 < payload["trainings"] < 288


@pytest.mark.parametrize(("what", "name"), [("problems", "counterexample"), ("rules", "adamw")])
def test_lists_print_names_as_text_and_json(capsys, what: str, name: str):
    _, out, _ = ended(f"{what} --json", capsys)
    assert name in [row["name"] for row in json.loads(out)]
    _, out, err = ended(what, capsys)
    assert name in out
    assert not err


def test_a_damaged_run_is_reported_and_trained_again(folder: Path, capsys):
    _, whole, _ = ended(TINY, capsys)
    with closing(sqlite3.connect("out/train.sqlite", isolation_level=None)) as db:
        db.execute("UPDATE runs SET final = 0.0 WHERE id = 2")
    _, again, err = ended(TINY, capsys)
    assert again == whole
    assert "Warning: damaged runs: 1 in the store, trained again." in err
    assert err.count("training\n") == 1
