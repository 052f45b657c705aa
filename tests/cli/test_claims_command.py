"""`betaplane claims` lists, shows, runs and reports."""

import json

import pytest

from betaplane.cli.main import main


def run(*arguments):
    """Run a command that is expected to succeed."""
    with pytest.raises(SystemExit) as end:
        main(["claims", *arguments])
    assert not end.value.code


def test_run_prints_the_table_and_the_verdict(capsys, tmp_path):
    run("run", "first-step", "--store", str(tmp_path))
    text = capsys.readouterr().out
    assert "first-step: holds" in text
    assert "m_hat" in text
    assert (tmp_path / "first-step.json").exists()


def test_run_does_not_repeat_a_finished_claim(capsys, tmp_path):
    path = tmp_path / "first-step.json"
    for _ in range(2):
        run("run", "first-step", "--store", str(tmp_path), "--json")
    first, second = capsys.readouterr().out.split("]\n[")
    assert json.loads(f"{first}]") == json.loads(f"[{second}")
    written = path.stat().st_mtime_ns
    run("run", "first-step", "--store", str(tmp_path), "--again")
    assert path.stat().st_mtime_ns > written


def test_list_and_show_read_the_results_of_the_package(capsys, tmp_path):
    run("list", "--store", str(tmp_path), "--json")
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["first-step"]["verdict"] == "holds"
    run("show", "update-bound", "--store", str(tmp_path))
    assert "Kingma" in capsys.readouterr().out


def test_report_writes_one_page(capsys, tmp_path):
    out = tmp_path / "claims.html"
    run("report", "--out", str(out), "--store", str(tmp_path))
    assert "<svg" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "frist-step"], "Did you mean 'first-step'?"),
        (["run", "first-step", "--size", "3"], "does not depend on a size"),
        (["run", "first-step", "--workers", "0"], "workers is out of range"),
        (["runs"], "Unknown command 'runs'"),
        (["run", "first-step", "--store", "/proc/x"], "Try: --store out/claims"),
    ],
)
def test_bad_input_gets_a_sentence(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as error:
        main(["claims", *arguments])
    assert error.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_damaged_result_gets_a_sentence(capsys, tmp_path):
    (tmp_path / "first-step.json").write_text("{}")
    with pytest.raises(SystemExit) as error:
        main(["claims", "show", "first-step", "--store", str(tmp_path)])
    assert error.value.code == 2
    assert "not the result of a claim" in capsys.readouterr().err
