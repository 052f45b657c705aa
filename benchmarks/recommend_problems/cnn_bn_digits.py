from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import betaplane

HERE = Path(__file__).resolve().parent
data = torch.load(HERE / "digits.pt")
x, y = data["x"].view(-1, 1, 8, 8), data["y"]


def net():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 16, 10),
    )


problem = betaplane.Problem(
    "cnn_bn_digits", net, F.cross_entropy, x, y, batch_size=32, steps=250, lr=0.001
)
