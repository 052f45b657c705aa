"""Results that cannot be written: refused before the work if possible, else the answer is printed
all the same.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import PROBLEMS, ended

MAP = "map mine.py:train --workers 0 --points 3 --seeds 1"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(PROBLEMS)
    (tmp_path / "mine2.py").write_text(
        PROBLEMS.replace("import torch", "import torch; open('ran', 'w').close()")
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", ["html", "png"])
def test_map_prints_its_answer_without_a_file(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = Path(f"out/train-beta1-beta2.{kind}")
    taken.mkdir(parents=True)  # a folder is where the file should be
    code, out, err = ended(MAP, capsys)
    assert code == 2
    assert "·· good score" in out
    assert str(taken) not in out
    assert "The results cannot be written (Is a directory): got" in err
    assert sorted(path.suffix for path in Path("out").iterdir() if path.is_file()) == sorted(
        {".sqlite", ".png", ".html"} - {f".{kind}"}
    )


def test_map_prints_json_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out/train-beta1-beta2.html").mkdir(parents=True)
    code, out, _ = ended(f"{MAP} --json", capsys)
    assert code == 2
    assert [Path(each).suffix for each in json.loads(out)["files"]] == [".png", ".sqlite"]


def test_record_rejects_an_unwritable_folder_before_recording(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = ended("record mine2.py:fine --out /proc/grads.safetensors", capsys)
    assert (code, out) == (2, "")
    assert "The results cannot be written (" in err
    assert not Path("ran").exists()
