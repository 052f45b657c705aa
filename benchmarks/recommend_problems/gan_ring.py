from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

import betaplane

HERE = Path(__file__).resolve().parent

g = torch.Generator().manual_seed(5)
angle = 2 * torch.pi * torch.randint(0, 6, (1024,), generator=g) / 6
x = torch.stack([angle.cos(), angle.sin()], 1) + 0.08 * torch.randn(1024, 2, generator=g)


class GAN(nn.Module):
    """Both losses in one: the discriminator sees detached fakes, the generator sees frozen discriminator weights."""

    def __init__(self):
        super().__init__()
        self.G = nn.Sequential(
            nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2)
        )
        self.D = nn.Sequential(
            nn.Linear(2, 32),
            nn.LeakyReLU(0.2),
            nn.Linear(32, 32),
            nn.LeakyReLU(0.2),
            nn.Linear(32, 1),
        )

    def forward(self, real):
        fake = self.G(torch.randn(len(real), 4))
        d = F.softplus(-self.D(real)).mean() + F.softplus(self.D(fake.detach())).mean()
        frozen = {k: v.detach() for k, v in self.D.named_parameters()}
        return d + F.softplus(-functional_call(self.D, frozen, (fake,))).mean()


def loss(output, target):
    return output


problem = betaplane.Problem(
    "gan_ring", GAN, loss, x, torch.zeros(len(x)), batch_size=64, steps=500, lr=0.002
)
