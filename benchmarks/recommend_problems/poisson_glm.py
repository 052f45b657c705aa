import torch
from torch import nn

import betaplane

g = torch.Generator().manual_seed(6)
x = torch.randn(800, 8, generator=g)
w = torch.tensor([0.6, -0.4, 0.3, 0.0, 0.0, 0.2, -0.1, 0.5])
y = torch.poisson((x @ w + 1.0).exp(), generator=g)[:, None]


def net():
    return nn.Linear(8, 1)


problem = betaplane.Problem(
    "poisson_glm", net, nn.PoissonNLLLoss(), x, y, batch_size=20, steps=400, lr=0.001
)
