"""A problem file that gives other numbers at every load is rejected, whichever generator draws them
and wherever they are used.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch

from betaplane.errors import BadInput
from betaplane.problems import fingerprint, load

HEAD = """
    import random, time
    import numpy as np
    import torch
    from torch import nn
    from betaplane.problems import Problem, Trainer

    x = torch.arange(12.0).reshape(6, 2)
    y = torch.arange(6) % 3
    cross_entropy = nn.functional.cross_entropy

    def made(module=lambda: nn.Linear(2, 3), loss=cross_entropy, inputs=x, targets=y):
        return Problem("mine", module, loss, inputs, targets, batch_size=2, steps=10)
"""

UNSEEDED = {
    "data drawn by torch": ("problem = made(inputs=torch.randn(6, 2))", "inputs"),
    "targets": (
        "problem = made(targets=torch.rand(6), loss=lambda o, t: o.mean() + t.mean())",
        "target",
    ),
    "data drawn by NumPy": (
        "problem = made(inputs=torch.from_numpy(np.random.randn(6, 2)).float())",
        "inputs",
    ),
    "a NumPy generator": (
        "problem = made(inputs=torch.tensor(np.random.default_rng().random((6, 2))).float())",
        "inputs",
    ),
    "data drawn by random": ("problem = made(inputs=x * random.random())", "inputs"),
    "weights in a lambda": (
        "w = torch.rand(3)\nproblem = made(loss=lambda o, t: cross_entropy(o, t, weight=w))",
        "loss: w",
    ),
    "weights in a closure": (
        "def loss(w):\n    return lambda o, t: cross_entropy(o, t, w)\nproblem = made(loss=loss(torch.rand(3)))",
        "loss: w",
    ),
    "weights in a partial": (
        "from functools import partial\nproblem = made(loss=partial(cross_entropy, weight=torch.rand(3)))",
        "loss: weight",
    ),
    "weights in an object": (
        "problem = made(loss=nn.CrossEntropyLoss(weight=torch.rand(3)))",
        "weight",
    ),
    "a number in the loss": (
        "a = random.random()\nproblem = made(loss=lambda o, t: a * cross_entropy(o, t))",
        "loss: a",
    ),
    "a default argument": (
        "def loss(o, t, w=torch.rand(3)):\n    return cross_entropy(o, t, weight=w)\nproblem = made(loss=loss)",
        "loss",
    ),
    "a module that is copied": (
        "import copy\nnet = nn.Linear(2, 3)\nproblem = made(module=lambda: copy.deepcopy(net))",
        "parameter weight at seed 0",
    ),
    "a buffer": (
        "noise = torch.randn(3)\nclass Net(nn.Linear):\n    def __init__(self):\n        super().__init__(2, 3)\n"
        "        self.register_buffer('noise', noise)\nproblem = made(module=Net)",
        "buffer noise at seed 0",
    ),
    "a global that forward reads": (
        "noise = torch.randn(3)\nclass Net(nn.Linear):\n    def forward(self, x):\n"
        "        return super().forward(x) + noise\nproblem = made(module=lambda: Net(2, 3))",
        "noise",
    ),
    "a rate of dropout": (
        "p = random.random()\nproblem = made(module=lambda: nn.Sequential(nn.Linear(2, 3), nn.Dropout(p)))",
        "p",
    ),
    "a function's own data": (
        "data = torch.randn(5)\ndef problem(settings, seed):\n    return [1.0, float(data[0])]",
        "train",
    ),
    "a list of a function": (
        "data = [random.gauss(0, 1) for _ in range(9)]\ndef problem(settings, seed):\n    return [1.0, data[0]]",
        "train",
    ),
    "a trainer's": (
        "data = np.random.rand(5)\nproblem = Trainer('t', lambda settings, seed: [1.0, data[0]])",
        "train: ",
    ),
    "a file in the same folder": (
        "import data_of_this_test as d\nproblem = made(loss=lambda o, t: cross_entropy(o, t, d.w))",
        "loss",
    ),
}

SEEDED = {
    "a seed": "torch.manual_seed(0)\nproblem = made(inputs=torch.randn(6, 2))",
    "NumPy's seed": "np.random.seed(0)\nproblem = made(inputs=torch.from_numpy(np.random.randn(6, 2)).float())",
    "random's seed": "random.seed(0)\na = random.random()\nproblem = made(loss=lambda o, t: a * cross_entropy(o, t))",
    "draws that are not used": "unused = torch.randn(6, 2)\nnet = nn.Linear(2, 3)\nproblem = made()",
    "draws that are printed": "print(nn.Linear(2, 3)(x))\nproblem = made()",
    "draws of every run": "problem = made(module=lambda: nn.Linear(2, 3).apply(lambda m: nn.init.normal_(m.weight)))",
    "draws of NumPy in every run": "def net():\n    m = nn.Linear(2, 3)\n"
    "    m.weight.data = torch.tensor(np.random.randn(3, 2)).float()\n    return m\nproblem = made(module=net)",
    "draws in training": "from random import gauss\ndef problem(settings, seed):\n    return [1.0, gauss(0, 1), 0.5]",
    "the time, not used": "began = time.time()\nproblem = made()",
    "dropout": "problem = made(module=lambda: nn.Sequential(nn.Dropout(), nn.Linear(2, 3)))",
}


def written(folder: Path, code: str) -> str:
    (folder / "data_of_this_test.py").write_text("import torch\nw = torch.rand(3)\n")
    (folder / "mine.py").write_text(dedent(HEAD) + code)
    return f"{folder}/mine.py:problem"


@pytest.fixture(autouse=True)
def forgotten():
    yield
    sys.modules.pop("data_of_this_test", None)


@pytest.mark.parametrize(("code", "name"), UNSEEDED.values(), ids=UNSEEDED)
def test_numbers_without_a_seed_are_rejected_by_name(tmp_path: Path, code: str, name: str):
    with pytest.raises(
        BadInput, match=r"^The data differ between two loads of the file \(.*Try: "
    ) as refused:
        load(written(tmp_path, code))
    assert name in str(refused.value)


@pytest.mark.parametrize(
    ("draw", "line"),
    [
        ("torch.rand(6, 2)", "torch.manual_seed(0)"),
        ("torch.tensor(np.random.rand(6, 2)).float()", "numpy.random.seed(0)"),
        ("x + random.random()", "random.seed(0)"),
    ],
)
def test_the_proposed_line_seeds_the_generator_that_drew(tmp_path: Path, draw: str, line: str):
    with pytest.raises(BadInput) as refused:
        load(written(tmp_path, f"problem = made(inputs={draw})"))
    assert refused.value.instead.startswith(line)


@pytest.mark.parametrize("code", SEEDED.values(), ids=SEEDED)
def test_numbers_that_every_load_repeats_are_accepted(tmp_path: Path, code: str):
    problem = load(written(tmp_path, code))
    assert fingerprint(problem) == fingerprint(load(f"{tmp_path}/mine.py:problem"))


def test_a_file_that_can_be_run_only_once_is_accepted(tmp_path: Path):
    code = (
        "import builtins\nassert not hasattr(builtins, 'once')\nbuiltins.once = 1\nproblem = made()"
    )
    import builtins

    try:
        assert load(written(tmp_path, code)).name == "mine"
    finally:
        del builtins.once


def test_generators_after_loading_equal_those_after_one_run_of_the_file(tmp_path: Path):
    reference = written(
        tmp_path, "torch.manual_seed(3)\nnp.random.seed(3)\nrandom.seed(3)\nproblem = made()"
    )
    load(reference)
    drawn = torch.rand(1).item(), np.random.rand(), random.random()
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    assert drawn == (torch.rand(1).item(), np.random.rand(), random.random())


def test_a_file_prints_once_and_its_first_module_is_kept(tmp_path: Path, capsys):
    reference = written(
        tmp_path,
        "print('hello')\nclass Net(nn.Linear): pass\nproblem = made(module=lambda: Net(2, 3))",
    )
    problem = load(reference)
    assert capsys.readouterr().out == "hello\n"
    cls = type(problem.fresh(0))
    assert getattr(sys.modules[cls.__module__], "Net") is cls  # noqa: B009


def test_the_map_command_rejects_unseeded_data(tmp_path: Path):
    reference = written(tmp_path, "problem = made(inputs=torch.randn(6, 2))")
    command = [
        sys.executable,
        "-c",
        "from betaplane.cli.main import main; main()",
        "map",
        reference,
        "--workers",
        "0",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "torch.manual_seed(0)" in ran.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages"])
def test_registries_of_a_library_of_another_environment_may_change(tmp_path: Path, folder: str):
    """As in transformers: using a model fills registries that other methods of it refer to."""
    library = tmp_path / "env" / "lib" / "python3" / folder
    library.mkdir(parents=True)
    name = f"library_in_{folder[:4]}"
    (library / f"{name}.py").write_text(
        dedent("""
            from torch import nn

            REGISTRY = {"models": 0.0}

            class Model(nn.Linear):
                def __init__(self):
                    super().__init__(2, 3)
                    REGISTRY["models"] += 1.0

                @classmethod
                def registered(cls):
                    return REGISTRY
        """)
    )
    code = f"import sys\nsys.path.append({str(library)!r})\nfrom {name} import Model\n"
    problem = "problem = Problem('mine', Model, cross_entropy, x, y, batch_size=2, steps=10)"
    (tmp_path / "project").mkdir()
    file = tmp_path / "project" / "mine.py"
    file.write_text(dedent(HEAD) + code + problem)
    assert load(f"{file}:problem").examples == 6
