from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import betaplane

HERE = Path(__file__).resolve().parent
data = torch.load(HERE / "license_chars.pt")
ids, V, T = data["ids"], data["vocab"], 20
seq = ids[: (len(ids) // (T + 1)) * (T + 1)].view(-1, T + 1)
x, y = seq[:, :-1].contiguous(), seq[:, 1:].contiguous()


class CharLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(V, 16)
        self.rnn = nn.LSTM(16, 48, batch_first=True)
        self.out = nn.Linear(48, V)

    def forward(self, x):
        h, _ = self.rnn(self.emb(x))
        return self.out(h)


def loss(logits, y):
    return F.cross_entropy(logits.flatten(0, 1), y.flatten())


problem = betaplane.Problem("lstm_lm", CharLSTM, loss, x, y, batch_size=16, steps=250, lr=0.005)
