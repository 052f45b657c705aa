"""`betaplane plan`: text, JSON, results that are given back, bad input."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from commands import ended

from betaplane.problems import counterexample
from betaplane.replay import record_problem, save


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save(record_problem(counterexample(n=10), steps=160), "grads.safetensors")
    return tmp_path


def test_settings_are_printed_and_results_are_given_back(capsys):
    code, out, _ = ended("plan grads.safetensors --runs 5", capsys)
    assert code == 0
    assert "The 5 runs that decide most" in out
    code, out, _ = ended("plan grads.safetensors --runs 5 --json", capsys)
    first = json.loads(out, parse_constant=pytest.fail)
    assert [run["beta1"] for run in first["runs"]] == [0.9] * 5
    rows = [f"0.9,{r['beta2']},{2.0 if r['beta2'] < 0.75 else 0.1}" for r in first["runs"]]
    Path("runs.csv").write_text("\n".join(["beta1,beta2,final_loss", *rows]))
    ended("import runs.csv --initial 2.3 --store runs.sqlite --x beta2 --y beta1", capsys)
    given = "plan grads.safetensors --results runs.csv --initial 2.3 --json"
    second = json.loads(ended(given, capsys)[1])
    assert (first["results"], second["results"]) == (0, 5)
    assert second["deviation"] < first["deviation"]
    assert not Path("out/grads-predicted.png").exists()


def test_a_store_is_read_as_its_table(capsys):
    Path("runs.csv").write_text("beta1,beta2,lr,final_loss\n0.9,0.5,1,2.0\n0.9,0.99,2,0.1\n")
    ended("import runs.csv --initial 2.3 --store runs.sqlite", capsys)
    table = ended("plan grads.safetensors --results runs.csv --initial 2.3 --json", capsys)[1]
    store = ended("plan grads.safetensors --results runs.sqlite --json", capsys)[1]
    assert json.loads(store) == json.loads(table)
    assert json.loads(store)["results"] == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("none.safetensors", ""),
        ("grads.safetensors --runs 40", "The number of runs is out of range: got 40"),
        (
            "grads.safetensors --beta1 1",
            "beta1 is out of range: got 1.0; expected [0, 1) (--beta1)",
        ),
        ("grads.safetensors --proxy none.json", "The file is not the JSON of a map"),
        ("grads.safetensors --results none.csv", "There is no such sweep"),
    ],
)
def test_bad_input_is_a_sentence(capsys, arguments: str, text: str):
    code, out, err = ended(f"plan {arguments}", capsys)
    assert (code, out) == (2, "")
    assert err.startswith(f"betaplane: {text}")
    assert len(err.splitlines()) == 1
    assert os.listdir() == ["grads.safetensors"]
