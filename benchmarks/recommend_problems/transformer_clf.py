from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import betaplane

HERE = Path(__file__).resolve().parent
g = torch.Generator().manual_seed(3)
x = torch.randint(0, 12, (1500, 10), generator=g)
y = (x == 0).sum(1).clamp(max=2)  # how often does token 0 occur: 0, 1, 2 or more


class Clf(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(12, 32)
        self.pos = nn.Parameter(0.02 * torch.randn(10, 32))
        self.enc = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.out = nn.Linear(32, 3)

    def forward(self, x):
        return self.out(self.enc(self.emb(x) + self.pos).mean(1))


problem = betaplane.Problem(
    "transformer_clf", Clf, F.cross_entropy, x, y, batch_size=32, steps=300, lr=0.001
)
