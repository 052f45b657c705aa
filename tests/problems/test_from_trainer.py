"""Runs of a Hugging Face Trainer: equal to its own, stopped early, settings read back."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import betaplane
from betaplane.errors import BadInput
from betaplane.problems import from_trainer
from betaplane.problems.generators import seed_generators
from betaplane.replicas import Options, Outcome, Run
from betaplane.replicas.callable import train_callable
from betaplane.replicas.loss_report import LossReport
from betaplane.rules import Adam

hf: Any = pytest.importorskip("transformers")
SETTINGS = {"beta1": 0.8, "beta2": 0.95, "lr": 0.05, "batch_size": 4, "eps": 1e-8}
STEPS = 12
WHOLE = Options(early_stop=False)
X = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
DATA = [{"x": x, "labels": (x[0] > 0).long()} for x in X]


@pytest.fixture(autouse=True)
def _their_warnings_are_theirs() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.2))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": nn.functional.cross_entropy(self.net(x), labels)}


class Maker:
    """Makes a Trainer from the settings, with changed arguments."""

    def __init__(self, folder: Path, model: Any = Net, **arguments: Any) -> None:
        self.folder, self.model, self.arguments = folder, model, arguments

    def __call__(self, settings: dict[str, float], seed: int) -> Any:
        arguments = {
            "max_steps": STEPS,
            "per_device_train_batch_size": int(settings["batch_size"]),
            "learning_rate": settings["lr"],
            "adam_beta1": settings["beta1"],
            "adam_beta2": settings["beta2"],
            "warmup_steps": 2,
            "report_to": [],
            "use_cpu": True,
            "seed": seed,
            **self.arguments,
        }
        return hf.Trainer(
            self.model(),
            hf.TrainingArguments(str(self.folder), **arguments),
            train_dataset=DATA,
            eval_dataset=DATA[:8],
        )


def trained(make: Any, options: Options = WHOLE) -> Outcome:
    return train_callable(from_trainer(make), Run(Adam(0.8, 0.95), 0.05, 4, seed=3), options)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_losses_equal_those_that_the_trainer_logs(tmp_path: Path, accumulated: int) -> None:
    seed_generators(3)
    own = Maker(
        tmp_path, logging_steps=1, save_strategy="no", gradient_accumulation_steps=accumulated
    )(SETTINGS, 3)
    own.train()
    logged = [entry["loss"] for entry in own.state.log_history if "loss" in entry]
    make = Maker(tmp_path, gradient_accumulation_steps=accumulated)
    options = Options(early_stop=False, varied=("beta1", "beta2", "lr", "batch_size", "eps"))
    for _ in range(2):
        assert trained(make, options).curve == pytest.approx(logged, abs=1e-4)


def test_nothing_is_saved(tmp_path: Path) -> None:
    trained(Maker(tmp_path, save_strategy="steps", save_steps=2))
    assert not list(tmp_path.rglob("checkpoint*"))


def test_validation_is_reported(tmp_path: Path) -> None:
    report = LossReport(early_stop=False)
    problem = from_trainer(Maker(tmp_path, eval_strategy="steps", eval_steps=4))
    training: Any = problem.train
    training.run(SETTINGS, 0, report)
    assert len(report.losses) == STEPS
    assert len(report.validations) == 3


class Diverging(Net):
    """Returns NaN from the fourth step on, which the Trainer would filter from its log."""

    calls = 0

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        self.calls += 1
        loss = super().forward(x, labels)["loss"]
        return {"loss": loss * (math.nan if self.calls > 3 else 1.0)}


def test_run_that_diverges_is_stopped(tmp_path: Path) -> None:
    outcome = trained(Maker(tmp_path, Diverging))
    assert len(outcome.curve) == 4
    assert not outcome.whole
    assert outcome.final == math.inf


IGNORED = {
    "lr": {"learning_rate": 0.01},
    "beta2": {"adam_beta2": 0.999},
    "eps": {"adam_epsilon": 1e-6},
    "batch_size": {"per_device_train_batch_size": 5},
}


@pytest.mark.parametrize("name", IGNORED)
def test_setting_without_effect_is_an_error(tmp_path: Path, name: str) -> None:
    make = Maker(tmp_path, **IGNORED[name])
    with pytest.raises(BadInput, match=f"setting {name} had no effect"):
        trained(make, Options(early_stop=False, varied=(name,)))


def test_bad_input_is_refused_in_a_sentence(tmp_path: Path) -> None:
    one = Maker(tmp_path)(SETTINGS, 0)
    assert trained(lambda settings, seed: one).whole
    with pytest.raises(BadInput, match="already trained"):
        trained(lambda settings, seed: one)
    with pytest.raises(BadInput, match="does not return a Trainer: got 'Net'"):
        trained(lambda settings, seed: Net())


def test_map_of_a_trainer_is_made_by_workers(tmp_path: Path) -> None:
    make = Maker(tmp_path, max_steps=4)
    problem = from_trainer(make, "net", defaults={"lr": 0.05, "batch_size": 4})
    found = betaplane.map_phases(problem, "beta2", "lr", 2, seeds=1, workers=1, trainings=4)
    assert found.trainings == 4
    assert np.isfinite([cell.finals[0] for cell in found.cells.values()]).all()
