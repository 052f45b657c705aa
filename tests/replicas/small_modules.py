"""Small problems with common layers, in float64, so that engines can be compared up to rounding."""

import torch
from torch import nn

from betaplane.problems import Problem


def _data(n: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(7)
    return torch.randn(n, 16, generator=g, dtype=torch.float64), torch.randint(3, (n,), generator=g)


def _double(make):
    return lambda: make().double()


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.out = nn.Linear(8, 3)

    def forward(self, tokens):
        return self.out(self.block(self.embed(tokens)).mean(1))


class Scaled(nn.Module):
    """A parameter without dimensions, such as a logit scale."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.out = nn.Linear(16, 3)

    def forward(self, x):
        return self.scale * self.out(x)


def mlp():
    return nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))


def batchnorm():
    return nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def convolution():
    return nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    )


def normed():
    return nn.Sequential(nn.Linear(16, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3))


def dropout():
    return nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def problem(make, **fields) -> Problem:
    x, y = _data()
    if make is Attention:
        x = (x.abs() * 3).long().clamp(max=10)[:, :6]
    own = {"batch_size": 8, "steps": 30, "lr": 0.01, **fields}
    return Problem(make.__name__, _double(make), nn.functional.cross_entropy, x, y, **own)


class Branching(nn.Module):
    """Control flow on data, which vmap cannot batch."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(16, 3)

    def forward(self, x):
        y = self.out(x)
        return y if y.sum().item() > 0 else 2 * y
