"""Runs of a LightningModule: equal to Lightning's own, stopped early, settings read back."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import betaplane
from betaplane.errors import BadInput
from betaplane.problems import fingerprint, from_lightning
from betaplane.problems.library_training import check_make
from betaplane.problems.reports import Reporting
from betaplane.replicas import Options, Outcome, Run
from betaplane.replicas.callable import train_callable
from betaplane.replicas.loss_report import LossReport
from betaplane.rules import Adam

SETTINGS = {"beta1": 0.8, "beta2": 0.95, "lr": 0.05, "batch_size": 8}
STEPS = 12
WHOLE = Options(early_stop=False)


def test_missing_package_is_a_sentence_with_the_command() -> None:
    with pytest.raises(BadInput) as caught:
        check_make(
            lambda settings, seed: None, "", "from_lightning", "no_such_package", "lightning"
        )
    assert str(caught.value) == (
        "no_such_package is not installed (from_lightning). Try: pip install 'betaplane[lightning]'"
    )


pl: Any = pytest.importorskip("lightning.pytorch")
X = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
DATA = TensorDataset(X, (X[:, 0] > 0).long())


@pytest.fixture(autouse=True)
def _their_warnings_are_theirs() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Net(pl.LightningModule):
    def __init__(self, settings: dict[str, float]) -> None:
        super().__init__()
        self.settings = settings
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Dropout(0.2))

    def training_step(self, batch: list, _index: int) -> torch.Tensor:
        return cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: list, _index: int) -> None:
        self.log("val_loss", cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        s = self.settings
        return torch.optim.Adam(self.parameters(), lr=s["lr"], betas=(s["beta1"], s["beta2"]))


def loaders(settings: dict[str, float]) -> tuple[DataLoader, DataLoader]:
    size = int(settings["batch_size"])
    return DataLoader(DATA, batch_size=size, shuffle=True), DataLoader(DATA, batch_size=20)


def make(settings: dict[str, float], seed: int) -> tuple:
    return Net(settings), loaders(settings)


def trained(make: Any, options: Options = WHOLE, **trainer: Any) -> Outcome:
    problem = from_lightning(make, **{"max_steps": STEPS, "accelerator": "cpu", **trainer})
    run = Run(Adam(0.8, 0.95), SETTINGS["lr"], 8, seed=3)
    return train_callable(problem, run, options)


def loop() -> list[float]:
    """The same training, by hand."""
    torch.manual_seed(3)
    model, (data, _) = make(SETTINGS, 3)
    optimizer: Any = model.configure_optimizers()
    losses: list[float] = []
    while True:
        for batch in data:
            optimizer.zero_grad()
            loss = model.training_step(batch, 0)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if len(losses) == STEPS:
                return losses


def test_losses_equal_those_of_a_loop() -> None:
    with torch.random.fork_rng():
        expected = loop()
    for _ in range(2):
        alone = lambda settings, seed: (make(settings, seed)[0], loaders(settings)[0])  # noqa: E731
        assert trained(alone).curve == pytest.approx(expected, rel=1e-6)


def test_own_trainer_is_used_and_accumulated_batches_are_one_step() -> None:
    def with_trainer(settings: dict[str, float], seed: int) -> tuple:
        own = pl.Trainer(
            max_steps=6, accumulate_grad_batches=2, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, accelerator="cpu",
        )  # fmt: skip
        return *make(settings, seed), own

    outcome = trained(with_trainer, Options(early_stop=False, varied=("batch_size",)))
    assert len(outcome.curve) == 6
    assert outcome.whole


def test_validation_is_reported() -> None:
    report = LossReport(early_stop=False)
    problem = from_lightning(make, max_epochs=2, accelerator="cpu")
    training: Any = problem.train
    training.run(SETTINGS, 0, report)
    assert isinstance(training, Reporting)
    assert len(report.losses) == 10
    assert len(report.validations) == 2
    assert all(math.isfinite(value) for value in report.validations)


def test_run_that_diverges_is_stopped() -> None:
    class Diverging(Net):
        def training_step(self, batch: list, index: int) -> torch.Tensor:
            return super().training_step(batch, index) * (math.nan if index == 3 else 1.0)

    outcome = trained(lambda settings, seed: (Diverging(settings), loaders(settings)))
    assert len(outcome.curve) == 4
    assert not outcome.whole
    assert outcome.final == math.inf


IGNORED = {"lr": 0.01, "beta1": 0.5, "beta2": 0.999}


@pytest.mark.parametrize("name", IGNORED)
def test_setting_without_effect_is_an_error(name: str) -> None:
    def ignoring(settings: dict[str, float], seed: int) -> tuple:
        return make({**settings, name: IGNORED[name]}, seed)

    with pytest.raises(BadInput, match=f"setting {name} had no effect: .* {IGNORED[name]:g}"):
        trained(ignoring, Options(early_stop=False, varied=(name,)))
    assert trained(
        ignoring, Options(early_stop=False, varied=("batch_size",))
    ).whole  # it is not varied


def test_batch_size_without_effect_is_an_error() -> None:
    fixed = lambda settings, seed: (Net(settings), DataLoader(DATA, batch_size=5))  # noqa: E731
    with pytest.raises(BadInput, match="batch_size had no effect: the run trains with 5"):
        trained(fixed, Options(early_stop=False, varied=("batch_size",)))


ONE = Net(SETTINGS)
BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no pair": (lambda settings, seed: Net(settings), {}, "does not return a module and data"),
    "no length": (make, {"max_steps": None}, "at least 1 step|length of a run is not given"),
    "no data": (
        lambda settings, seed: (Net(settings), DataLoader([], batch_size=2)), {}, "made no step"
    ),
    "raises": (lambda settings, seed: 1 / 0, {}, "failed.*ZeroDivisionError"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_a_sentence(case: str) -> None:
    bad, options, text = BAD[case]
    given = {"max_steps": STEPS, **options}
    problem = from_lightning(bad, accelerator="cpu", **{k: v for k, v in given.items() if v})
    with pytest.raises(BadInput, match=text):
        train_callable(problem, Run(Adam(0.8, 0.95), 0.05, 8, seed=3))


def test_trained_model_is_refused() -> None:
    again = lambda settings, seed: (ONE, loaders(settings))  # noqa: E731
    problem = from_lightning(again, max_steps=2, accelerator="cpu")
    run = Run(Adam(0.8, 0.95), 0.05, 8, seed=3)
    train_callable(problem, run)
    with pytest.raises(BadInput, match="already trained"):
        train_callable(problem, run)


def test_map_of_a_module_is_made_by_workers() -> None:
    problem = from_lightning(make, "net", max_steps=4, accelerator="cpu", defaults={"lr": 0.05})
    assert fingerprint(problem) == fingerprint(cloudpickle.loads(cloudpickle.dumps(problem)))
    found = betaplane.map_phases(problem, "beta2", "lr", 2, seeds=1, workers=1, trainings=4)
    assert found.trainings == 4
    assert np.isfinite([cell.finals[0] for cell in found.cells.values()]).all()
