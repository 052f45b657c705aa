from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import betaplane

HERE = Path(__file__).resolve().parent
data = torch.load(HERE / "docs_words.pt")
ids, V = data["ids"][:5000], data["vocab"]
pairs = torch.cat(
    [torch.stack([ids[:-d], ids[d:]], 1) for d in (1, 2)]
    + [torch.stack([ids[d:], ids[:-d]], 1) for d in (1, 2)]
)
x = pairs[(pairs > 0).all(1)]  # 0 is the unknown word


class SkipGram(nn.Module):
    def __init__(self):
        super().__init__()
        self.word, self.context = nn.Embedding(V, 24), nn.Embedding(V, 24)
        nn.init.uniform_(self.word.weight, -0.5 / 24, 0.5 / 24)
        nn.init.zeros_(self.context.weight)

    def forward(self, x):
        w = self.word(x[:, 0])
        pos = (w * self.context(x[:, 1])).sum(1)
        neg = torch.einsum("bd,bkd->bk", w, self.context(torch.randint(1, V, (len(x), 5))))
        return F.softplus(-pos) + F.softplus(neg).sum(1)


def loss(nll, target):
    return nll.mean()


problem = betaplane.Problem(
    "skipgram", SkipGram, loss, x, torch.zeros(len(x)), batch_size=128, steps=500, lr=0.01
)
