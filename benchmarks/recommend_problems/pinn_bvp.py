import torch
from torch import nn

import betaplane

# u'' + 4 u = f on [0, 1] with u(0) = 0 and u(1) = 0; the solution is sin(pi x) + sin(3 pi x) / 3
pi = torch.pi
x = torch.linspace(0, 1, 64)[:, None]
f = (4 - pi**2) * torch.sin(pi * x) + (4 - 9 * pi**2) * torch.sin(3 * pi * x) / 3


class PINN(nn.Module):
    def __init__(self):
        super().__init__()
        self.u = nn.Sequential(
            nn.Linear(1, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1)
        )

    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            u = self.u(x)
            du = torch.autograd.grad(u.sum(), x, create_graph=True)[0]
            ddu = torch.autograd.grad(du.sum(), x, create_graph=True)[0]
            ends = self.u(torch.tensor([[0.0], [1.0]]))
        return ddu + 4 * u, ends


def loss(output, f):
    lhs, ends = output
    return (lhs - f).square().mean() + 10 * ends.square().mean()


problem = betaplane.Problem("pinn_bvp", PINN, loss, x, f, batch_size=64, steps=600, lr=0.005)
