from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import betaplane

HERE = Path(__file__).resolve().parent
clean = torch.load(HERE / "digits.pt")["x"][:1200].view(-1, 1, 8, 8)
noisy = clean + 0.3 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(18))


class Denoise(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()
        )
        self.dec = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, x):
        code = self.enc(x)
        return self.dec(code), code


def loss(output, clean):
    image, code = output
    return F.mse_loss(image, clean) + 1e-3 * code.abs().mean()


problem = betaplane.Problem(
    "denoise_sparse", Denoise, loss, noisy, clean, batch_size=24, steps=300, lr=0.001
)
