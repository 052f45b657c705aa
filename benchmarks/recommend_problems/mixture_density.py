import torch
from torch import nn

import betaplane

g = torch.Generator().manual_seed(14)
t = torch.rand(1000, 1, generator=g)
x = (
    t + 0.3 * torch.sin(2 * torch.pi * t) + 0.05 * torch.randn(1000, 1, generator=g)
)  # the inverse of this is many-valued
K = 5


def net():
    return nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 3 * K))


def nll(out, t):
    logit, mean, logstd = out.chunk(3, 1)
    logstd = logstd.clamp(min=-5)
    logp = -0.5 * ((t - mean) / logstd.exp()) ** 2 - logstd - 0.919
    return -(logit.log_softmax(1) + logp).logsumexp(1).mean()


problem = betaplane.Problem("mixture_density", net, nll, x, t, batch_size=64, steps=500, lr=0.005)
