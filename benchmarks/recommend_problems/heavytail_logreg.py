import torch
import torch.nn.functional as F
from torch import nn

import betaplane

g = torch.Generator().manual_seed(13)
C = 50
p = 1 / torch.arange(1, C + 1).float()  # Zipf
y = torch.multinomial(p / p.sum(), 2000, replacement=True, generator=g)
x = torch.randn(C, 24, generator=g)[y] + 1.5 * torch.randn(2000, 24, generator=g)


def net():
    m = nn.Linear(24, C)
    nn.init.zeros_(m.weight)
    nn.init.zeros_(m.bias)
    return m


problem = betaplane.Problem(
    "heavytail_logreg", net, F.cross_entropy, x, y, batch_size=2, steps=600, lr=0.001
)
