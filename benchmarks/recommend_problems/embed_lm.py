from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import betaplane

HERE = Path(__file__).resolve().parent
data = torch.load(HERE / "docs_words.pt")
ids, V, K = data["ids"], data["vocab"], 3
win = ids[:6000].unfold(0, K + 1, 1)
x, y = win[:, :K].clone(), win[:, K].clone()


class LM(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(V, 24)
        self.hid = nn.Linear(24 * K, 64)
        self.out = nn.Linear(64, V)

    def forward(self, x):
        return self.out(torch.tanh(self.hid(self.emb(x).flatten(1))))


problem = betaplane.Problem("embed_lm", LM, F.cross_entropy, x, y, batch_size=64, steps=400, lr=0.1)
