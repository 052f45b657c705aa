"""Images: a CNN with BatchNorm, and an autoencoder with tied weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.user_forms.loop import STEPS, Settings, train
from betaplane import Problem

generator = torch.Generator().manual_seed(0)
images = torch.rand(128, 1, 8, 8, generator=generator)
labels = (images[:, 0, :4].mean((1, 2)) > images[:, 0, 4:].mean((1, 2))).long()
loader = DataLoader(TensorDataset(images, labels), batch_size=16, shuffle=True)


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2),
    )  # fmt: skip


def cnn_form() -> Problem:
    return Problem("cnn", cnn, F.cross_entropy, data=loader, steps=STEPS)


def cnn_loop(settings: Settings, seed: int) -> list[float]:
    def loss_of(model: nn.Module, batch: list[Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    return train(settings, seed, cnn, loader, loss_of)


class Tied(nn.Module):
    """The decoder is the transposed encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(64, 12)
        self.bias = nn.Parameter(torch.zeros(64))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.encoder(x.flatten(1)))
        return F.linear(hidden, self.encoder.weight.t(), self.bias)


only_images = DataLoader(TensorDataset(images), batch_size=16, shuffle=True)


def reconstruction(model: nn.Module, batch: list[Tensor]) -> Tensor:
    return F.mse_loss(model(batch[0]), batch[0].flatten(1))


def autoencoder_form() -> Problem:
    return Problem("autoencoder", Tied, reconstruction, data=only_images, steps=STEPS)


def autoencoder_loop(settings: Settings, seed: int) -> list[float]:
    return train(settings, seed, Tied, only_images, reconstruction)
