from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import betaplane

HERE = Path(__file__).resolve().parent
data = torch.load(HERE / "digits.pt")
g = torch.Generator().manual_seed(10)
x, y = data["x"][:1000], data["y"][:1000].clone()
wrong = torch.rand(1000, generator=g) < 0.3  # 30% of the labels are random
y[wrong] = torch.randint(0, 10, (int(wrong.sum()),), generator=g)


def net():
    return nn.Sequential(
        nn.Linear(64, 96),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(96, 48),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(48, 10),
    )


problem = betaplane.Problem(
    "dropout_noisy", net, F.cross_entropy, x, y, batch_size=50, steps=500, lr=0.03
)
