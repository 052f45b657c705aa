from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import betaplane

HERE = Path(__file__).resolve().parent
data = torch.load(HERE / "diabetes.pt")
x = data["x"] / data["x"].std(0)
y = data["y"][:, None]  # raw disease progression, 25 .. 346


def net():
    return nn.Sequential(
        nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)
    )


problem = betaplane.Problem("diabetes", net, F.mse_loss, x, y, batch_size=32, steps=500, lr=0.01)
