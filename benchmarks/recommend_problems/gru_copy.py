import torch
import torch.nn.functional as F
from torch import nn

import betaplane

g = torch.Generator().manual_seed(15)
V, T = 8, 5
x = torch.randint(1, V, (2000, T), generator=g)


class Copy(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(V, 16)
        self.encoder = nn.GRU(16, 48, batch_first=True)
        self.decoder = nn.GRU(16, 48, batch_first=True)
        self.out = nn.Linear(48, V)

    def forward(self, x):
        _, h = self.encoder(self.emb(x))
        shifted = F.pad(x[:, :-1], (1, 0))  # teacher forcing, 0 starts
        return self.out(self.decoder(self.emb(shifted), h)[0])


def loss(logits, y):
    return F.cross_entropy(logits.flatten(0, 1), y.flatten())


problem = betaplane.Problem("gru_copy", Copy, loss, x, x, batch_size=32, steps=300, lr=0.003)
