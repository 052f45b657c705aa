import torch
from torch import nn

import betaplane

g = torch.Generator().manual_seed(7)
x = torch.rand(600, 1, generator=g) * 4 - 2
y = torch.sin(2 * x) + (0.1 + 0.3 * x.abs()) * torch.randn(600, 1, generator=g)
q = torch.tensor([0.1, 0.5, 0.9])


def net():
    return nn.Sequential(
        nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 3)
    )


def pinball(pred, y):
    e = y - pred
    return torch.maximum(q * e, (q - 1) * e).mean()


problem = betaplane.Problem("quantile_reg", net, pinball, x, y, batch_size=50, steps=500, lr=0.001)
