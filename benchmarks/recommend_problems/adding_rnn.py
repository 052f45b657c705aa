import torch
import torch.nn.functional as F
from torch import nn

import betaplane

# the adding problem with fresh sequences at every step
T, HIDDEN, BATCH, STEPS = 10, 32, 32, 400


def draw(n, generator=None):
    value = torch.rand(n, T, generator=generator)
    order = torch.rand(n, T, generator=generator).argsort(1)
    mark = torch.zeros(n, T).scatter(1, order[:, :2], 1.0)
    return torch.stack([value, mark], 2), (value * mark).sum(1)


held = draw(1000, torch.Generator().manual_seed(17))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(2, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, 1)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])[:, 0]


def run(settings, seed):
    torch.manual_seed(seed)
    net, losses = Net(), []
    opt = torch.optim.Adam(
        net.parameters(),
        lr=settings.get("lr", 0.01),
        betas=(settings.get("beta1", 0.9), settings.get("beta2", 0.999)),
    )
    for _ in range(STEPS):
        x, y = draw(BATCH)
        opt.zero_grad()
        loss = F.mse_loss(net(x), y)
        loss.backward()
        opt.step()
        losses.append(loss.item())
    return losses, net


def train(settings, seed):
    return run(settings, seed)[0]


def evaluate(net):
    return F.mse_loss(net(held[0]), held[1]).item()


trainer = betaplane.Trainer("adding_rnn", train, defaults={"lr": 0.01})
