"""`betaplane map --command` and `tune --command`: results, flags in errors, stderr of a failure."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from betaplane.cli.main import main

SCRIPT = """
import os, sys
assert "TYPER_USE_RICH" not in os.environ and "MKL_NUM_THREADS" not in os.environ
beta1, beta2, lr = map(float, sys.argv[1:4])
print("loss=1")
print("loss=%g" % (0.01 + 0.5 * (lr > 0.05) + 0.9 * (beta2 < 0.5)))
"""
COMMAND = f"{shlex.quote(sys.executable)} train.py {{beta1}} {{beta2}} {{lr}} {{seed}}"
LOSS = r"stdout:loss=(\S+)"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("TYPER_USE_RICH", "MKL_NUM_THREADS"):  # as in a terminal
        monkeypatch.setenv(name, "set by betaplane")
    monkeypatch.setattr("betaplane.cli.environment.ADDED", ["TYPER_USE_RICH", "MKL_NUM_THREADS"])
    Path("train.py").write_text(SCRIPT)
    return tmp_path


def ended(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return int(left.value.code or 0), *capsys.readouterr()


def test_map_of_a_command_writes_pictures_and_json(folder, capsys):
    words = ["--points", "3", "--seeds", "1", "--boundary-seeds", "1", "--lr", "0.01,fixed"]
    code, out, _ = ended(["map", "--command", COMMAND, "--loss", LOSS, *words, "--json"], capsys)
    payload = json.loads(out)
    assert code == 0
    assert payload["problem"] == "train"
    assert payload["facts"]["engine"] == "command"
    assert {cell["verdict"] for cell in payload["cells"] if cell["beta2"] == 0} == {"failing"}
    assert sorted(path.name for path in Path("out").iterdir() if path.suffix != ".sqlite-wal") == [
        "train-beta1-beta2.html",
        "train-beta1-beta2.png",
        "train.sqlite",
    ]
    code, out, _ = ended(["map", "--command", COMMAND, "--loss", LOSS, "--status"], capsys)
    assert code == 0
    assert "trainings" in out


def test_tune_takes_a_command(capsys):
    words = ["--seeds", "2", "--max-runs", "16", "--lr", "0.1", "--json"]
    code, out, _ = ended(["tune", "--command", COMMAND, "--loss", LOSS, *words], capsys)
    assert code == 0
    assert json.loads(out)["lr"] < 0.05


def test_failing_command_prints_its_stderr_and_one_sentence(capsys):
    Path("train.py").write_text(
        "import sys\nprint('step 1', file=sys.stderr)\nraise OSError('no disk')"
    )
    code, out, err = ended(["map", "--command", COMMAND, "--loss", LOSS, "--lr", "0.1"], capsys)
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert "step 1" in lines
    assert lines[-1] == (
        "betaplane: The command failed before its first loss: got 'exit code 1'; expected losses, "
        "and exit code 0 (OSError: no disk)."
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--command", COMMAND], "needs a source of its losses: expected stdout:REGEX"),
        (["--loss", LOSS], "The option belongs to a command: got 'stdout:loss=(\\\\S+)' (--loss)"),
        (["--timeout", "5m"], "The option belongs to a command: got '5m' (--timeout)"),
        (["digits", "--command", COMMAND, "--loss", LOSS], "A problem and a command are given"),
        (["--command", COMMAND, "--loss", "stdout:x"], "Try: --loss 'stdout:loss=(\\S+)'"),
        (
            ["--command", COMMAND, "--loss", LOSS, "--timeout", "soon"],
            "Invalid duration: got 'soon'",
        ),
        (["--command", "python {beta1}", "--loss", LOSS], "or --reads-environment if the script"),
        (["--command", COMMAND, "--loss", LOSS, "--data", "folder"], "reads its own data"),
        (
            ["--command", COMMAND, "--loss", LOSS, "--x", "layers"],
            "own needs a range: got 'layers' (--x)",
        ),
    ],
)
def test_bad_options_print_one_sentence(words, message: str, capsys):
    code, out, err = ended(["map", *words], capsys)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_commands_with_one_script_have_stores_of_their_own(folder, capsys):
    words = ["--points", "2", "--seeds", "1", "--boundary-seeds", "1", "--lr", "0.01,fixed"]
    words += ["--loss", LOSS, "--json"]
    stores = []
    for command in (COMMAND, f"{COMMAND} --more", COMMAND):
        code, out, _ = ended(["map", "--command", command, *words], capsys)
        assert code == 0
        stores.append(json.loads(out)["files"][-1])
    assert stores[0] == stores[2] == "out/train.sqlite"
    assert re.fullmatch(r"out/train-[0-9a-f]{8}\.sqlite", stores[1])
    stems = {Path(store).stem for store in stores}
    assert {path.name for path in Path("out").glob("*.png")} == {
        f"{s}-beta1-beta2.png" for s in stems
    }
