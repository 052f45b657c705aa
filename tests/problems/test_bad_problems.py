"""Errors for bad problems and references, as tables of inputs and messages."""

import pytest
import torch
from torch import nn

from betaplane.errors import BadInput
from betaplane.problems import (
    BUILT_IN,
    Problem,
    Trainer,
    check,
    counterexample,
    load,
    power,
    quadratic,
    reddi,
    text,
    valley,
)

ONES = torch.ones(8, 1)
RAMP = torch.arange(8.0)[:, None]


def line(**changes) -> Problem:
    fields = {
        "module": lambda: nn.Linear(1, 1),
        "loss": nn.functional.mse_loss,
        "inputs": ONES,
        "targets": ONES,
    }
    return Problem("line", **{**fields, "batch_size": 4, **changes})


FROZEN = nn.Linear(1, 1).requires_grad_(False)

ROWS = {
    "empty data": (lambda: line(inputs=ONES[:0], targets=ONES[:0]), "data set is empty: got 0"),
    "lengths differ": (
        lambda: line(targets=ONES[:5]),
        "differ in length: got 5; expected 8 targets",
    ),
    "NaN data": (
        lambda: line(inputs=ONES * torch.nan),
        r"inputs contain .* not finite: got 8.*shape \(8, 1\).*nan_to_num",
    ),
    "infinite targets": (
        lambda: line(targets=ONES / 0),
        "targets contain values that are not finite",
    ),
    "not a tensor": (
        lambda: line(inputs=[1.0] * 8),
        "inputs is not a tensor of examples: got 'list'",
    ),
    "0-d": (lambda: line(targets=torch.tensor(1.0)), "targets is not a tensor of examples"),
    "loss in words": (
        lambda: line(loss="mse"),
        "loss is not callable: got 'mse'; expected a function .problem 'line'",
    ),
    "module is None": (lambda: line(module=None), "module is not callable: got None"),
    "module in words": (
        lambda: line(module="mlp"),
        "module is not callable: got 'mlp'.*Try: module=lambda",
    ),
    "constrain": (
        lambda: line(constrain=1.0),
        "constrain is not callable: got 1.0.*Try: constrain=None",
    ),
    "gradient": (lambda: line(gradient="exact"), "gradient is not callable"),
    "boundary": (lambda: line(boundary=0.9), "boundary is not callable"),
    "trainer": (
        lambda: Trainer("mine", "train.py"),
        r"train is not callable: got 'train.py'.*\(trainer 'mine'",
    ),
    "batch too large": (
        lambda: line(batch_size=9),
        r"batch size does not fit the data: got 9; expected \[1, 8\]",
    ),
    "batch 0": (
        lambda: line(batch_size=0),
        r"got 0; expected \[1, 8\] \(problem 'line'\). Try: batch_size=8",
    ),
    "batch 2.5": (lambda: line(batch_size=2.5), "got 2.5"),
    "steps 0": (lambda: line(steps=0), "steps is out of range: got 0"),
    "lr negative": (lambda: line(lr=-1.0), r"lr is out of range: got -1.0; expected \(0, inf\)"),
    "lr NaN": (lambda: line(lr=float("nan")), "lr is out of range: got nan"),
    "lr text": (lambda: line(lr="1"), "lr is out of range: got '1'"),
    "warmup 1": (lambda: line(warmup=1), "warmup is out of range: got 1"),
    "order": (
        lambda: line(order="random"),
        "Unknown order 'random'. Choose one of: shuffle, replacement, cyclic",
    ),
    "schedule": (
        lambda: line(schedule="cosine"),
        "Unknown schedule 'cosine'.* Choose one of: constant",
    ),
    "record": (lambda: line(record="all"), "Unknown record 'all'. Choose one of: minibatch, full"),
    "with_": (lambda: line().with_(batch_size=80), "got 80"),
    "no module": (
        lambda: check(line(module=lambda: 3)),
        "does not return a module: got 'int'; expected a torch.nn.Module",
    ),
    "no parameters": (lambda: check(line(module=nn.ReLU)), "no parameters to train: got 0"),
    "frozen parameters": (
        lambda: check(line(module=lambda: FROZEN)),
        "no parameters to train: got 0",
    ),
    "module raises": (
        lambda: check(line(module=lambda: 1 / 0)),
        r"Making the module.*test_bad_problems.*line \d+: ZeroDiv",
    ),
    "shape": (
        lambda: check(line(module=lambda: nn.Linear(3, 1))),
        r"fails on input of shape \(4, 1\), torch.float32",
    ),
    "loss raises": (
        lambda: check(line(loss=lambda y, t: y @ t)),
        r"output of shape \(4, 1\).*target of shape \(4, 1\)",
    ),
    "no scalar": (
        lambda: check(line(loss=lambda y, t: y - t)),
        r"not a scalar: got 'shape \(4, 1\).*\.mean\(\)",
    ),
    "broadcast targets": (
        lambda: check(
            line(inputs=RAMP, targets=torch.arange(8.0), loss=lambda y, t: (y - t).square().mean())
        ),
        r"target is broadcast.*got 'output \(4, 1\), target \(4,\)'.*reshape\(-1, 1\)",
    ),
    "broadcast outputs": (
        lambda: check(
            line(
                inputs=RAMP,
                module=lambda: nn.Sequential(nn.Linear(1, 1), nn.Flatten(0)),
                targets=torch.arange(8.0)[:, None],
                loss=lambda y, t: (y - t).square().mean(),
            )
        ),
        r"target is broadcast.*got 'output \(4,\), target \(4, 1\)'.*reshape\(-1\)",
    ),
    "loss a number": (lambda: check(line(loss=lambda y, t: 1.0)), "not a scalar: got 'float'"),
    "loss detached": (
        lambda: check(line(loss=lambda y, t: t.mean())),
        "does not depend on the parameters",
    ),
    "loss infinite": (
        lambda: check(line(loss=lambda y, t: y.mean() / 0)),
        "not finite before training",
    ),
    "n": (lambda: counterexample(n=2), r"n is out of range: got 2; expected \[3, inf\)"),
    "a": (lambda: counterexample(a=0), r"a is out of range: got 0; expected \(0, inf\)"),
    "quadratic n": (lambda: quadratic(n=1), "n is out of range: got 1"),
    "C": (
        lambda: reddi(C=2, period=3),
        r"C is out of range: got 2; expected \(2, inf\) at this period",
    ),
    "C NaN": (lambda: reddi(C=float("nan")), "C is out of range: got nan"),
    "delta": (lambda: reddi(delta=0.1), 'delta requires independent draws.*order="replacement"'),
    "large delta": (lambda: reddi(delta=9, order="replacement"), "delta is out of range: got 9"),
    "x0": (lambda: reddi(x0=2), r"x0 is out of range: got 2; expected \[-1, 1\]"),
    "power": (lambda: power(k=2), "k is out of range: got 2"),
    "scale": (lambda: reddi(scale=0), "scale is out of range: got 0"),
    "condition": (lambda: valley(condition=0.5), "condition is out of range: got 0.5"),
    "noiseless batch": (
        lambda: valley(batch_size=4),
        "batch_size is out of range without noise: got 4.*batch_size=1",
    ),
    "heads": (
        lambda: text(width=30, heads=4),
        "width is not a multiple of heads: got 30; expected 4, 8",
    ),
}


@pytest.mark.parametrize(("act", "message"), ROWS.values(), ids=ROWS)
def test_bad_problem_is_rejected(act, message):
    with pytest.raises(BadInput, match=message):
        act()


REFERENCES = {
    "digit": "Unknown problem 'digit'. Did you mean 'digits'.*: digits, mnist, .*path/to/file.py:name",
    "": "Unknown problem ''",
    "digits:hiden=3": "Unknown option 'hiden'.*: model, hidden, .*Try: digits:hidden=32",
    "digits:hidden=many": "hidden cannot be parsed: got 'many'; expected a whole .*digits:hidden=32",
    "digits:hidden=2.5": "hidden cannot be parsed: got '2.5'; expected a whole number",
    "digits:hidden=0": "hidden is out of range: got 0",
    "digits:lr=fast": "lr cannot be parsed: got 'fast'; expected a number",
    "digits:resnet": "Unknown model 'resnet'. Choose one of: mlp, logistic",
    "digits:batch_size=2000": r"batch size does not fit the data: got 2000; expected \[1, 1797\]",
    "valley:rotated=maybe": "rotated cannot be parsed: got 'maybe'; expected true or false",
    "valley:dtype=float8": "dtype cannot be parsed: got 'float8'; expected float32 or float64.*dtype=",
    "valley:dimension=1e9": "failed",
    "counterexample:x0=nan": "not finite before training: got nan",
    "counterexample:order=backwards": "Unknown order 'backwards'",
    "mnist": "mnist needs data.*mnist:data=path/to/mnist",
    "mnist:/no/such/folder": "does not exist: got '/no/such/folder'; expected a folder with train-images",
    "text:/no/such/file.txt": r"text file cannot be read \(No such file or directory\)",
    "/no/such/file.py:problem": "problem file does not exist: got '/no/such/file.py'",
    "/no/such/file.py": "problem file does not exist",
}


@pytest.mark.parametrize(("reference", "message"), REFERENCES.items(), ids=repr)
def test_bad_reference_is_rejected(reference, message):
    with pytest.raises(BadInput, match=message):
        load(reference)


def test_built_in_problems_are_named_as_their_functions():
    assert all(name == function.__name__ for name, function in BUILT_IN.items())


def test_losses_of_all_pairs_by_design_and_flattened_targets_are_accepted() -> None:
    """A contrastive loss needs equal shapes; a loss that flattens both is the same either way."""
    flat = line(
        inputs=RAMP, targets=torch.arange(8.0), loss=lambda y, t: (y.flatten() - t).square().mean()
    )
    check(flat)
    check(line(inputs=RAMP, targets=RAMP, loss=lambda y, t: (y - t.T).square().mean()))
