"""Train a digit classifier with a betaplane optimizer, and save and load its state."""

import torch

import betaplane
from betaplane.optim.schedule_functions import horizon

torch.manual_seed(0)
digits = betaplane.load("digits")
model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
optimizer = betaplane.AdamW(model.parameters(), lr=0.01, max_norm=1.0, average=0.99)

# beta2 rises from 0.9 to 0.999 in its memory horizon, 1 / (1 - beta2), over 200 steps
schedule = betaplane.Schedule(optimizer, beta2=horizon(0.9, 0.999, steps=200))

for _step in range(200):
    batch = torch.randint(len(digits.inputs), (64,))
    loss = torch.nn.functional.cross_entropy(model(digits.inputs[batch]), digits.targets[batch])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()

with optimizer.averaged():  # the running average of the weights
    right = (model(digits.inputs).argmax(1) == digits.targets).float().mean()
print(f"accuracy of the averaged weights: {right:.2f}")
print(f"norm of the last gradient: {optimizer.norms.gradient:.2f}")

resumed = betaplane.AdamW(model.parameters(), lr=0.01, max_norm=1.0, average=0.99)
resumed.load_state_dict(optimizer.state_dict())
print(f"beta2 after loading: {resumed.param_groups[0]['betas'][1]:.3f}")
