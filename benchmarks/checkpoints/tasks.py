"""Small models and data of several kinds, and the loop that trains them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Task:
    """A model and its data.

    Args:
        model: the module that is trained.
        batch: loss of the module on a fresh batch.
    """

    def __init__(self, model: Any, batch: Callable[[nn.Module], Tensor]) -> None:
        self.model = model
        self.batch = batch


def classifier(size: int = 1) -> Task:
    """Noisy labels of a random linear teacher; two layers."""
    teacher = torch.randn(20, 5)
    width = 32 * size
    model = nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, 5))

    def batch(model: nn.Module) -> Tensor:
        x = torch.randn(32, 20)
        labels = (x @ teacher + 2 * torch.randn(32, 5)).argmax(1)
        return F.cross_entropy(model(x.to(next(model.parameters()).dtype)), labels)

    return Task(model, batch)


def regression(size: int = 1) -> Task:
    """A sum of sines with noise; three layers of tanh."""
    width = 24 * size
    layers = [nn.Linear(4, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(width, 1))

    def batch(model: nn.Module) -> Tensor:
        x = torch.randn(64, 4)
        y = x.sin().sum(1, keepdim=True) + 0.3 * torch.randn(64, 1)
        return F.mse_loss(model(x), y)

    return Task(model, batch)


def images(size: int = 1) -> Task:
    """Two textures; a convolution with a bias before batch normalization, which cancels it."""
    width = 8 * size
    model = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 2),
    )

    def batch(model: nn.Module) -> Tensor:
        labels = torch.randint(2, (32,))
        x = torch.randn(32, 1, 8, 8)
        smooth = F.avg_pool2d(x, 3, 1, 1) * 2
        x = torch.where(labels.view(-1, 1, 1, 1) == 1, smooth, x) + 0.5 * torch.randn_like(x)
        return F.cross_entropy(model(x), labels)

    return Task(model, batch)


class Decoder(nn.Module):
    """A language model of two layers with tied embeddings and more positions than are used."""

    def __init__(self, width: int, vocabulary: int = 64, positions: int = 64) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(positions, width)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor) -> Tensor:
        places = torch.arange(ids.shape[1])
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
        x = self.tokens(ids) + self.positions(places)
        return self.head(self.layers(x, mask=mask, is_causal=True))


def markov_ids(chain: Tensor, rows: int, length: int) -> Tensor:
    """Sequences of a Markov chain with transition probabilities `chain`."""
    ids = [torch.randint(len(chain), (rows,))]
    for _ in range(length - 1):
        ids.append(torch.multinomial(chain[ids[-1]], 1).squeeze(1))
    return torch.stack(ids, 1)


def language(size: int = 1) -> Task:
    """A Markov chain of 60 of 64 tokens, predicted by a decoder."""
    chain = torch.softmax(2 * torch.randn(60, 60), 1)

    def batch(model: nn.Module) -> Tensor:
        ids = markov_ids(chain, 8, 17)
        logits = model(ids[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    return Task(Decoder(16 * size), batch)


def recommender(size: int = 1) -> Task:
    """Clicks on items whose frequencies fall as 1 / rank; most embeddings are rarely used."""
    users, items = 200 * size, 300 * size
    table = nn.ModuleDict({"user": nn.Embedding(users, 8), "item": nn.Embedding(items, 8)})
    model = nn.ModuleDict({"tables": table, "head": nn.Linear(16, 1)})
    weights = 1 / torch.arange(1, items + 1)
    taste = torch.randn(users, 1) * torch.randn(items)

    def batch(model: Any) -> Tensor:
        user, item = torch.randint(users, (32,)), torch.multinomial(weights, 32, replacement=True)
        x = torch.cat([model["tables"]["user"](user), model["tables"]["item"](item)], 1)
        clicked = (taste[user, item] > 0).float()
        return F.binary_cross_entropy_with_logits(model["head"](x).squeeze(1), clicked)

    return Task(model, batch)


def train(
    task: Task,
    optimizer: Any,
    steps: int,
    during: Callable[[int, nn.Module], None] | None = None,
    set_to_none: bool = True,
) -> None:
    """Train; `during(step, model)` may change the gradients before a step."""
    for step in range(1, steps + 1):
        optimizer.zero_grad(set_to_none=set_to_none)
        loss = task.batch(task.model)
        loss.backward()
        if during:
            during(step, task.model)
        optimizer.step()
