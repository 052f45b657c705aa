"""Problems from the user's own file: accepted forms, errors, and no side effects."""

import pickle
import sys
from textwrap import dedent

import pytest
import torch

from betaplane.errors import BadInput
from betaplane.problems import Problem, Trainer, load

GOOD = """
    import torch
    from torch import nn
    from betaplane.problems import Problem, Trainer
    from sizes_of_this_test import WIDTH

    inputs = torch.randn(16, WIDTH, generator=torch.Generator().manual_seed(0))

    problem = Problem("mine", lambda: nn.Linear(WIDTH, 1), nn.functional.mse_loss, inputs, inputs[:, :1], 4)

    def wide(width=5):
        from sizes_of_this_test import WIDTH
        return problem.with_(name="wide", module=lambda: nn.Linear(WIDTH, 1))

    def train(settings, seed):
        return [settings["lr"] * seed, 0.5]

    trainer = Trainer("loop", lambda settings, seed: [1.0, 0.0], best=0.0)
    number = 3

    def nothing():
        return None

    def fails():
        raise KeyError("weights")

    def three(a, b, c):
        return a

    def shapes():
        return problem.with_(module=lambda: nn.Linear(7, 1))
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "sizes_of_this_test.py").write_text("WIDTH = 3\n")
    path = tmp_path / "mine.py"
    path.write_text(dedent(GOOD))
    yield path
    sys.modules.pop("sizes_of_this_test", None)


def test_a_problem_or_a_function_that_returns_one_is_loaded(file):
    before = list(sys.path)
    assert load(f"{file}:problem").name == "mine"
    wide = load(f"{file}:wide")
    assert isinstance(wide, Problem)
    assert wide.fresh(0)(torch.ones(2, 3)).shape == (2, 1)
    assert sys.path == before


def test_a_train_function_becomes_a_trainer_that_survives_pickling(file):
    trainer = load(f"{file}:train")
    assert isinstance(trainer, Trainer)
    assert trainer.name == "train"
    pickled = pickle.dumps(trainer)
    for name in [name for name in sys.modules if name.startswith("betaplane_problem_")]:
        del sys.modules[name]  # as in a worker process, which has not seen the file
    assert pickle.loads(pickled).train({"lr": 0.1}, 2) == [0.2, 0.5]


def test_a_trainer_keeps_its_fields(file):
    trainer = load(f"{file}:trainer")
    assert (trainer.name, trainer.best, trainer.train({}, 0)) == ("loop", 0.0, [1.0, 0.0])
    assert pickle.loads(pickle.dumps(trainer)).train({}, 0) == [1.0, 0.0]


ROWS = {
    "absent": "has no 'absent': expected problem, wide, train, trainer, nothing, .*mine.py:problem",
    "number": "number is not a problem: got 'int'; expected a Problem, a Trainer",
    "nothing": "nothing is not a problem: got 'NoneType'",
    "fails": r"fails\(\) raises an error \(.*mine.py, line \d+: KeyError: 'weights'",
    "three": r"three takes 3 arguments: got 'a, b, c'; expected none .* or two \(settings, seed\)",
    "shapes": r"module of problem 'mine' fails on input of shape \(4, 3\).*RuntimeError: mat1 and mat2",
}


@pytest.mark.parametrize(("name", "message"), ROWS.items(), ids=ROWS)
def test_other_objects_are_rejected(file, name, message):
    with pytest.raises(BadInput, match=message):
        load(f"{file}:{name}")


def test_a_missing_name_is_rejected(file):
    with pytest.raises(BadInput, match=r"name of the problem is missing.*mine.py:problem"):
        load(str(file))


BROKEN = {
    "x = 1\nraise ValueError('no data here')": r"line 2: ValueError: no data here",
    "x = (": r"broken.py, line 1: SyntaxError",
    "import not_a_package_of_anyone": "ModuleNotFoundError: No module named 'not_a_package_of_anyone'",
    "import sys\nsys.exit(3)": "line 2: SystemExit: 3",
    "\0": "raises an error when it is imported",
}


@pytest.mark.parametrize(("source", "message"), BROKEN.items(), ids=repr)
def test_a_file_that_raises_is_rejected(tmp_path, source, message):
    path = tmp_path / "broken.py"
    path.write_text(source)
    before = set(sys.modules), list(sys.path)
    with pytest.raises(BadInput, match=message):
        load(f"{path}:problem")
    assert (set(sys.modules), list(sys.path)) == before


def test_an_empty_file_has_no_candidates(tmp_path):
    path = tmp_path / "empty.py"
    path.write_text("")
    with pytest.raises(BadInput, match="the file has none of them yet"):
        load(f"{path}:problem")


def test_two_files_of_one_name_are_two_modules(tmp_path):
    for folder, name in (("a", "first"), ("b", "second")):
        (tmp_path / folder).mkdir()
        source = f"""
            from betaplane.problems import digits
            def problem():
                return digits().with_(name={name!r})
        """
        (tmp_path / folder / "problem.py").write_text(dedent(source))
    names = [load(f"{tmp_path / folder / 'problem.py'}:problem").name for folder in "ab"]
    assert names == ["first", "second"]
