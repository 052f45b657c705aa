import torch
import torch.nn.functional as F
from torch import nn

import betaplane

g = torch.Generator().manual_seed(12)
x = torch.randn(2000, 12, generator=g)
y = (
    torch.sin(0.4 * x @ torch.randn(12, 4, generator=g)) @ torch.randn(4, 1, generator=g)
) + 0.1 * torch.randn(2000, 1, generator=g)


class Block(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.f = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(self, x):
        return x + self.f(x)


def net():
    return nn.Sequential(
        nn.Linear(12, 32), Block(32), Block(32), Block(32), nn.LayerNorm(32), nn.Linear(32, 1)
    )


problem = betaplane.Problem("resmlp_ln", net, F.mse_loss, x, y, batch_size=64, steps=400, lr=0.1)
