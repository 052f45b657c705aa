import torch
from torch import nn

import betaplane

# REINFORCE with a running baseline on a contextual bandit; the losses are regrets, which is what we care about
g = torch.Generator().manual_seed(9)
ARMS, DIM, BATCH, STEPS = 6, 5, 32, 500
W = torch.randn(DIM, ARMS, generator=g)
held = torch.randn(1000, DIM, generator=g)


def regret(policy, context):
    mean = torch.tanh(context @ W)
    return (mean.max(1).values - (policy(context).softmax(1) * mean).sum(1)).mean()


def run(settings, seed):
    torch.manual_seed(seed)
    policy = nn.Sequential(nn.Linear(DIM, 24), nn.Tanh(), nn.Linear(24, ARMS))
    opt = torch.optim.Adam(
        policy.parameters(),
        lr=settings.get("lr", 0.003),
        betas=(settings.get("beta1", 0.9), settings.get("beta2", 0.999)),
    )
    baseline, losses = 0.0, []
    for _ in range(STEPS):
        context = torch.randn(BATCH, DIM)
        logp = policy(context).log_softmax(1)
        arm = torch.multinomial(logp.detach().exp(), 1)
        reward = torch.tanh(context @ W).gather(1, arm)[:, 0] + 0.5 * torch.randn(BATCH)
        opt.zero_grad()
        (-(reward - baseline) * logp.gather(1, arm)[:, 0]).mean().backward()
        with torch.no_grad():
            losses.append(regret(policy, context).item())
        opt.step()
        baseline = 0.9 * baseline + 0.1 * reward.mean().item()
    return losses, policy


def train(settings, seed):
    return run(settings, seed)[0]


def evaluate(policy):
    return regret(policy, held).item()


trainer = betaplane.Trainer("bandit_pg", train, defaults={"lr": 0.003})
