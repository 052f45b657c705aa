"""`betaplane tune`: a table, JSON, and sentences for bad input."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from commands import PROBLEMS, ended

from betaplane.cli.main import RESUME


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(PROBLEMS)
    return tmp_path


def test_tune_prints_a_table_of_settings(capsys):
    code, out, _ = ended("tune mine.py:fine --seeds 2 --max-runs 16 --workers 0", capsys)
    assert code == 0
    assert out.startswith("line: ")
    assert out.count("<- use") == 1
    answers = "Keep the default|Change lr|Change betas|Change lr and betas"
    assert re.search(rf"^({answers}): betas=\(0(\.\d+)?, 0\.\d+\), lr=", out, re.MULTILINE)
    assert "runs, " in out
    assert max(map(len, out.splitlines()[:-1])) <= 80


def test_tune_prints_json_and_writes_a_store(folder, capsys):
    code, out, err = ended(
        "tune mine.py:trainer --seeds 2 --max-runs 16 --workers 0 --store kept.sqlite --json",
        capsys,
    )
    payload = json.loads(out, parse_constant=pytest.fail)
    assert code == 0
    assert "read" in err
    assert payload["trainings"] == sum(len(trial["finals"]) for trial in payload["trials"]) <= 16
    assert payload["answer"] in (
        "keep the default",
        "change lr",
        "change betas",
        "change lr and betas",
    )
    assert payload["beta1"] < payload["beta2"] ** 0.5
    assert (folder / "kept.sqlite").exists()


@pytest.mark.parametrize(
    ("words", "more"),
    [
        ("tune mine.py:stopped --workers 0", ""),
        ("record mine.py:stopped", ""),
        ("tune mine.py:stopped --workers 0 --store kept.sqlite", RESUME),
        ("map mine.py:stopped --workers 0", RESUME),
    ],
)
def test_ctrl_c_mentions_resuming_if_there_is_a_store(words, more, capsys):
    with Path("mine.py").open("a") as file:
        file.write("\ndef stopped():\n    raise KeyboardInterrupt\n")
    code, out, err = ended(words, capsys)
    assert (code, out) == (130, "")
    assert err.endswith(f"betaplane: stopped.{more}\n")


@pytest.mark.parametrize(
    ("words", "message"),
    {
        "tune nowhere": "Unknown problem 'nowhere'",
        "tune mine.py:nan --workers 0": "inputs contain values that are not finite",
        "tune mine.py:fine --workers 0 --rule sgd": "SGD has no beta1",
        "tune mine.py:fine --workers 0 --rule adamm": "Unknown rule 'adamm'",
        "tune mine.py:fine --workers 0 --seeds 0": "seeds is out of range: got 0",
        "tune mine.py:fine --workers 0 --seeds 1": "seeds is out of range: got 1",
        "tune mine.py:fine --workers 0 --max-runs 9": "max_runs is too small: got 9",
        "tune mine.py:fine --workers 0 --batch-size 9": "The batch size does not fit the data: got 9",
        "tune mine.py:fine --workers 0 --store mine.py": "The file is not a store",
    }.items(),
)
def test_bad_input_prints_one_sentence(words, message, capsys):
    code, out, err = ended(words, capsys)
    assert (code, out) == (2, "")
    assert f"betaplane: {message}" in err


def test_tune_counts_runs_in_examples(capsys):
    words = "tune mine.py:fine --seeds 2 --max-runs 12 --workers 0 --batch-size 2 --json"
    finals = {}
    for length in ("--examples 16", "--steps 8"):
        code, out, _ = ended(f"{words} {length}", capsys)
        assert code == 0
        finals[length] = [trial["finals"] for trial in json.loads(out)["trials"]]
    assert finals["--examples 16"] == finals["--steps 8"]
    code, _, err = ended(f"{words} --examples 16 --steps 8", capsys)
    assert code == 2
    assert "The length of a run is given twice: got 'steps=8, examples=16'" in err
    code, _, err = ended(f"{words} --tokens 100", capsys)
    assert code == 2
    assert "The tokens of an example cannot be counted" in err
