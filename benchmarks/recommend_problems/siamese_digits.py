from pathlib import Path

import torch
from torch import nn

import betaplane

HERE = Path(__file__).resolve().parent
data = torch.load(HERE / "digits.pt")
g = torch.Generator().manual_seed(2)
n = len(data["x"])
i = torch.arange(n)
j = torch.randint(0, n, (n,), generator=g)
for k in range(0, n, 2):  # every second pair is of one class
    pool = (data["y"] == data["y"][k]).nonzero()[:, 0]
    j[k] = pool[torch.randint(0, len(pool), (1,), generator=g)]
x = torch.stack([data["x"][i], data["x"][j]], 1)
y = (data["y"][i] == data["y"][j]).float()


def net():
    return nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8)
    )  # embeds both, (B, 2, 64) -> (B, 2, 8)


def contrastive(z, same):
    d = ((z[:, 0] - z[:, 1]).square().sum(1) + 1e-6).sqrt()
    return (same * d**2 + (1 - same) * (1 - d).clamp(min=0) ** 2).mean()


problem = betaplane.Problem(
    "siamese_digits", net, contrastive, x, y, batch_size=32, steps=400, lr=0.001
)
