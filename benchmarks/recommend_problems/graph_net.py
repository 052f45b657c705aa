from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import betaplane

HERE = Path(__file__).resolve().parent
g = torch.Generator().manual_seed(11)
N, C = 120, 4
label = torch.arange(N) % C
same = label[:, None] == label[None, :]
upper = torch.triu(torch.rand(N, N, generator=g) < torch.where(same, 0.2, 0.04), 1)
adj = (upper | upper.t()).float() + torch.eye(N)
deg = adj.sum(1).rsqrt()
A = deg[:, None] * adj * deg[None, :]
feat = F.one_hot(label, C).float() @ torch.randn(C, 16, generator=g) + 2.0 * torch.randn(
    N, 16, generator=g
)


class GCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("A", A)
        self.register_buffer("feat", feat)
        self.a = nn.Linear(16, 32)
        self.b = nn.Linear(32, C)

    def forward(self, node):
        h = torch.relu(self.A @ self.a(self.feat))
        return (self.A @ self.b(h))[node]


problem = betaplane.Problem(
    "graph_net", GCN, F.cross_entropy, torch.arange(N), label, batch_size=20, steps=300, lr=0.01
)
