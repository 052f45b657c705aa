"""Watch a run whose second moment forgets faster than its first, and read the alert."""

import torch

import betaplane

torch.manual_seed(0)
model = torch.nn.Linear(64, 10)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, betas=(0.95, 0.85))

with betaplane.watch(optimizer) as watcher:
    for _ in range(50):
        loss = model(torch.randn(32, 64)).logsumexp(1).mean()
        optimizer.zero_grad()
        loss.backward()
        watcher.loss(loss)
        optimizer.step()

for alert in watcher.alerts:
    print(alert.step, alert.cause, alert.remedy)
