from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import betaplane

HERE = Path(__file__).resolve().parent
x = torch.load(HERE / "digits.pt")["x"]


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Linear(64, 20)
        self.bias = nn.Parameter(torch.zeros(64))

    def forward(self, x):
        return F.linear(torch.sigmoid(self.enc(x)), self.enc.weight.t(), self.bias)


problem = betaplane.Problem(
    "tied_autoencoder", Tied, F.mse_loss, x, x, batch_size=100, steps=500, lr=0.001
)
