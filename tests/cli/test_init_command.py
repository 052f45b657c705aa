"""`betaplane init`: every starting file is written, loads and trains as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import ended

from betaplane.cli.init import FORMS
from betaplane.maps import map_phases
from betaplane.problems import Problem, load

NEEDS = {"trainer": "transformers", "lightning": "lightning"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore")  # of the libraries
def test_starting_file_trains_as_it_is(form: str, tmp_path: Path, capsys) -> None:
    if form in NEEDS:
        pytest.importorskip(NEEDS[form])
    path = tmp_path / "mine.py"
    code, out, err = ended(f"init {path} --from {form}", capsys)
    assert (code, err) == (0, "")
    assert str(path) in out
    assert f"betaplane map {path}:problem" in path.read_text()
    problem = load(f"{path}:problem")
    steps = {"steps": 20} if isinstance(problem, Problem) else {}
    phase_map = map_phases(
        problem, "beta2", "lr", points=2, seeds=1, workers=0, trainings=4, **steps
    )
    assert phase_map.trainings == 4


def test_existing_file_is_not_replaced(tmp_path: Path, capsys) -> None:
    path = tmp_path / "mine.py"
    path.write_text("mine")
    code, _, err = ended(f"init {path}", capsys)
    assert code == 2
    assert "exists" in err
    assert "--force" in err
    assert path.read_text() == "mine"
    assert ended(f"init {path} --force", capsys)[0] == 0
    assert "Problem(" in path.read_text()


def test_unknown_form_gets_the_nearest_one(tmp_path: Path, capsys) -> None:
    code, _, err = ended(f"init {tmp_path / 'mine.py'} --from tensor", capsys)
    assert code == 2
    assert "Did you mean 'tensors'?" in err
    assert "--from tensors" in err


@pytest.mark.parametrize("name", ["mine.txt", "mine", "lightning.py"])
def test_file_that_cannot_be_imported_is_not_written(name: str, tmp_path: Path, capsys) -> None:
    code, _, err = ended(f"init {tmp_path / name} --from lightning", capsys)
    assert code == 2
    assert err.rstrip().endswith(f"betaplane init {tmp_path / 'my_problem.py'} --from lightning")
    assert not (tmp_path / name).exists()
