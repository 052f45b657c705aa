"""Callbacks in the installed Hugging Face Trainer, Lightning and Accelerate."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import betaplane
import betaplane.monitor
from betaplane.errors import BadInput
from betaplane.monitor import TensorBoard, callbacks, read_lines

FAST = {"every": 1, "budget": math.inf, "console": False}
slow = pytest.mark.slow


@pytest.fixture(autouse=True)
def _their_warnings_are_theirs() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_missing_package_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    host = callbacks.HOSTS["HuggingFaceWatch"]
    missing = host._replace(modules=("no_such_package",))
    monkeypatch.setitem(callbacks.HOSTS, "HuggingFaceWatch", missing)
    monkeypatch.delitem(vars(callbacks), "HuggingFaceWatch", raising=False)
    with pytest.raises(BadInput) as caught:
        _ = betaplane.monitor.HuggingFaceWatch
    message = (
        "no_such_package is not installed (betaplane.monitor). Try: pip install 'betaplane[hf]'"
    )
    assert str(caught.value) == message


def test_unknown_callback_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'KerasWatch'"):
        _ = betaplane.monitor.KerasWatch
    with pytest.raises(AttributeError, match="has no attribute 'KerasWatch'"):
        _ = callbacks.KerasWatch


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The scalars in a TensorBoard folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    tags = events.Tags()
    scalar_values = {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in tags["scalars"]
    }
    texts = {
        name: [
            (event.step, str(event.tensor_proto.string_val[0])) for event in events.Tensors(name)
        ]
        for name in tags["tensors"]
    }
    return scalar_values | texts  # type: ignore[return-value]


# -- Hugging Face --


def language_model() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=20,
        n_positions=16,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config)


def sentences() -> list[dict[str, Tensor]]:
    words = torch.randint(20, (64, 12), generator=torch.Generator().manual_seed(0))
    return [{"input_ids": each, "labels": each} for each in words]


def hugging_face(folder: Path, callbacks: list[Any], **options: Any) -> Any:
    from transformers import Trainer, TrainingArguments

    defaults = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "max_steps": 12,
        "max_grad_norm": 0.5,
        "logging_steps": 1,
        "learning_rate": 1e-3,
        "save_strategy": "no",
        "use_cpu": True,
        "seed": 0,
        "disable_tqdm": True,
        "report_to": [],
    }
    arguments = TrainingArguments(str(folder), **{**defaults, **options})
    trainer = Trainer(language_model(), arguments, train_dataset=sentences(), callbacks=callbacks)
    trainer.train()
    return trainer


def logged(trainer: Any) -> list[float]:
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


@slow
def test_hugging_face_trainer_is_watched(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(tmp_path / "theirs")
    callback = betaplane.monitor.HuggingFaceWatch(
        to=TensorBoard(tmp_path / "ours"), path=tmp_path / "run.jsonl", **FAST
    )
    trainer = hugging_face(tmp_path, [callback], report_to=["tensorboard"])
    bare = hugging_face(tmp_path, [])
    for one, other in zip(trainer.model.parameters(), bare.model.parameters(), strict=True):
        assert torch.equal(one, other)
    history = callback.watcher.history
    assert history.step == 12
    assert [loss for _, loss in history.losses] == pytest.approx(logged(trainer), rel=1e-3)
    assert {reading.layer for reading in history.current_readings()} == {
        name for name, _ in trainer.model.named_parameters()
    }
    norm = math.sqrt(
        sum(reading.g_rms**2 * math.prod(reading.shape) for reading in history.current_readings())
    )
    assert norm == pytest.approx(min(0.5, trainer.state.log_history[-2]["grad_norm"]), rel=1e-4)
    assert not callback.watcher.alerts, callback.watcher.report()
    ours, theirs = (
        scalars(tmp_path / "ours"),
        scalars(next((tmp_path / "theirs").rglob("events*")).parent),
    )
    losses = next(values for name, values in ours.items() if "loss" in name)
    assert losses[-1] == (12, pytest.approx(theirs["train/loss"][-1][1], rel=1e-3))
    assert len(
        [row for row in read_lines(tmp_path / "run.jsonl") if row["kind"] == "reading"]
    ) == 12 * len(history.current_readings())
    assert not trainer.model._forward_hooks


@slow
@pytest.mark.parametrize(
    "options",
    [{"gradient_accumulation_steps": 1}, {"bf16": True}, {"torch_compile": True, "max_steps": 4}],
    ids=str,
)
def test_hugging_face_other_loss_reductions(tmp_path: Path, options: dict[str, Any]) -> None:
    pytest.importorskip("transformers")
    callback = betaplane.monitor.HuggingFaceWatch(**FAST)
    trainer = hugging_face(tmp_path, [callback], adam_beta1=0.95, adam_beta2=0.85, **options)
    assert [loss for _, loss in callback.watcher.history.losses] == pytest.approx(
        logged(trainer), rel=1e-2
    )
    assert [alert.cause for alert in callback.watcher.alerts] == ["beta1^2 >= beta2"]


@slow
def test_model_without_loss_uses_the_logged_loss(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")

    class Plain(transformers.Trainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Tensor:
            labels = inputs.pop("labels")
            return nn.functional.cross_entropy(
                model(**inputs).logits.flatten(0, 1), labels.flatten()
            )

    callback = betaplane.monitor.HuggingFaceWatch(**FAST)
    arguments = transformers.TrainingArguments(
        str(tmp_path),
        max_steps=6,
        logging_steps=2,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = Plain(language_model(), arguments, train_dataset=sentences(), callbacks=[callback])
    trainer.train()
    assert [loss for _, loss in callback.watcher.history.losses] == logged(trainer)


# -- Lightning --


def lightning_module(manual: bool = False) -> Any:
    import lightning.pytorch as pl

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 3)
            self.automatic_optimization = not manual
            self.seen: list[float] = []

        def configure_optimizers(self) -> Any:
            if manual:
                return [
                    torch.optim.AdamW(each.parameters(), lr=1e-2) for each in (self.one, self.two)
                ]
            return torch.optim.AdamW(self.parameters(), lr=1e-2)

        def training_step(self, batch: Any, i: int) -> Any:
            x, y = batch
            loss = nn.functional.cross_entropy(self.two(self.one(x).tanh()), y)
            self.seen.append(loss.item())
            self.log("loss", loss)
            if not manual:
                return loss
            optimizer = self.optimizers()[i % 2]
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            return None

    return Module()


def light(folder: Path, callbacks: list[Any], manual: bool = False, **options: Any) -> Any:
    import lightning.pytorch as pl
    from lightning.pytorch.loggers import TensorBoardLogger

    generator = torch.Generator().manual_seed(0)
    data = TensorDataset(
        torch.randn(96, 8, generator=generator), torch.randint(3, (96,), generator=generator)
    )
    defaults = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = pl.Trainer(
        **{**defaults, **options},
        default_root_dir=folder,
        logger=TensorBoardLogger(folder, name="theirs", version=""),
        log_every_n_steps=1,
        enable_checkpointing=False,
        callbacks=callbacks,
    )
    module = lightning_module(manual)
    trainer.fit(module, DataLoader(data, batch_size=4))
    return module


@slow
def test_lightning_trainer_is_watched(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    callback = betaplane.monitor.LightningWatch(to=TensorBoard(tmp_path / "ours"), **FAST)
    options = {"accumulate_grad_batches": 2, "gradient_clip_val": 0.5}
    module, bare = light(tmp_path, [callback], **options), light(tmp_path / "bare", [], **options)
    for one, other in zip(module.parameters(), bare.parameters(), strict=True):
        assert torch.equal(one, other)
    history = callback.watcher.history
    assert history.step == 12
    means = [sum(module.seen[i : i + 2]) / 2 for i in range(0, 24, 2)]
    assert [loss for _, loss in history.losses] == pytest.approx(means, rel=1e-5)
    assert {reading.layer for reading in history.current_readings()} == {
        "one.weight",
        "one.bias",
        "two.weight",
        "two.bias",
    }
    norms = [norm for _, norm in history.readings.gradient_norms]
    assert max(norms) <= 0.5 * (1 + 1e-5)
    assert not callback.watcher.alerts, callback.watcher.report()
    ours, theirs = scalars(tmp_path / "ours"), scalars(tmp_path / "theirs")
    assert len(theirs["loss"]) == 24 or len(theirs["loss"]) == 12
    losses = next(values for name, values in ours.items() if "loss" in name)
    assert losses[-1] == (12, pytest.approx(means[-1], rel=1e-5))


@slow
def test_lightning_manual_optimization_watches_two_optimizers(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    callback = betaplane.monitor.LightningWatch(path=tmp_path / "run.jsonl", **FAST)
    module, bare = (
        light(tmp_path, [callback], manual=True),
        light(tmp_path / "bare", [], manual=True),
    )
    for one, other in zip(module.parameters(), bare.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [each.history.step for each in callback.watchers] == [12, 12]
    for i, watcher in enumerate(callback.watchers):
        assert [loss for _, loss in watcher.history.losses] == pytest.approx(
            module.seen[i::2], rel=1e-6
        )
    layers = [
        {row["layer"] for row in read_lines(tmp_path / name) if row["kind"] == "reading"}
        for name in ("run.jsonl", "run-1.jsonl")
    ]
    assert layers == [{"one.weight", "one.bias"}, {"two.weight", "two.bias"}]


# -- Accelerate --


@slow
def test_accelerate_optimizer_is_unwrapped(tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=1e-2))
    with betaplane.watch(optimizer, model=model, **FAST) as watcher:
        for step in range(8):
            with accelerator.accumulate(model):
                x = torch.randn(4, 8, generator=torch.Generator().manual_seed(step))
                loss = model(x).square().mean()
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(model.parameters(), 0.01)
                optimizer.step()
                optimizer.zero_grad()
    assert watcher.history.step == 4
    assert watcher.history.readings.gradient_norms[-1][1] == pytest.approx(0.01, rel=1e-4)
    assert not watcher.alerts
