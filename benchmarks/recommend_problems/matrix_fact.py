from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import betaplane

HERE = Path(__file__).resolve().parent
g = torch.Generator().manual_seed(8)
U, I, R = 60, 40, 3
full = torch.randn(U, R, generator=g) @ torch.randn(I, R, generator=g).t()
pick = torch.randperm(U * I, generator=g)[:1200]
x = torch.stack([pick // I, pick % I], 1)
y = full.flatten()[pick] + 0.2 * torch.randn(1200, generator=g)


class MF(nn.Module):
    def __init__(self):
        super().__init__()
        self.u, self.i = nn.Embedding(U, 6), nn.Embedding(I, 6)
        self.bu, self.bi = nn.Embedding(U, 1), nn.Embedding(I, 1)
        for e in (self.u, self.i):
            nn.init.normal_(e.weight, std=0.1)
        for e in (self.bu, self.bi):
            nn.init.zeros_(e.weight)

    def forward(self, x):
        u, i = x[:, 0], x[:, 1]
        return (self.u(u) * self.i(i)).sum(1) + self.bu(u)[:, 0] + self.bi(i)[:, 0]


problem = betaplane.Problem("matrix_fact", MF, F.mse_loss, x, y, batch_size=16, steps=600, lr=0.01)
