import torch
from torch import nn

import betaplane

g = torch.Generator().manual_seed(4)
t = torch.rand(1500, generator=g) * 3 * torch.pi + 1
x = torch.stack([t * t.cos(), t * t.sin()], 1) / 6 + 0.03 * torch.randn(
    1500, 2, generator=g
)  # a spiral
STEPS = 50
keep = torch.cumprod(1 - torch.linspace(1e-3, 0.12, STEPS), 0)


class Denoiser(nn.Module):
    def __init__(self):
        super().__init__()
        self.time = nn.Embedding(STEPS, 16)
        self.net = nn.Sequential(
            nn.Linear(18, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2)
        )

    def forward(self, x):
        k = torch.randint(0, STEPS, (len(x),))
        noise = torch.randn_like(x)
        noisy = keep[k, None].sqrt() * x + (1 - keep[k, None]).sqrt() * noise
        return self.net(torch.cat([noisy, self.time(k)], 1)) - noise


def loss(error, target):
    return error.square().mean()


problem = betaplane.Problem(
    "diffusion_2d", Denoiser, loss, x, torch.zeros_like(x), batch_size=128, steps=500, lr=0.001
)
