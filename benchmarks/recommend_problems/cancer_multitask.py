from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import betaplane

HERE = Path(__file__).resolve().parent
data = torch.load(HERE / "cancer.pt")
z = (data["x"] - data["x"].mean(0)) / data["x"].std(0)
x = z[:, 1:]  # 29 features; the first, the radius, is the second task
y = torch.cat([data["y"][:, None].float(), z[:, :1]], 1)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(29, 24), nn.ReLU())
        self.diagnosis, self.radius = nn.Linear(24, 1), nn.Linear(24, 1)

    def forward(self, x):
        h = self.trunk(x)
        return torch.cat([self.diagnosis(h), self.radius(h)], 1)


def loss(out, y):
    return F.binary_cross_entropy_with_logits(out[:, 0], y[:, 0]) + 0.5 * F.mse_loss(
        out[:, 1], y[:, 1]
    )


problem = betaplane.Problem(
    "cancer_multitask", TwoHeads, loss, x, y, batch_size=2, steps=600, lr=0.003
)
