import torch
import torch.nn.functional as F
from torch import nn

import betaplane

g = torch.Generator().manual_seed(16)
D = 20
q = torch.linalg.qr(torch.randn(D, D, generator=g))[0]
x = torch.randn(200, D, generator=g) * torch.logspace(0, -2, D) @ q  # Hessian condition about 1e4
y = x @ (q.t() @ torch.randn(D, 1, generator=g) * 3) + 0.01 * torch.randn(200, 1, generator=g)


def net():
    return nn.Linear(D, 1)


problem = betaplane.Problem(
    "illcond_linreg", net, F.mse_loss, x, y, batch_size=200, steps=500, lr=0.1
)
