"""Map a training function that has its own loop: anything that returns its losses."""

import torch

import betaplane


def train(settings: dict, seed: int) -> list[float]:
    """Train a linear model by your own loop and return the loss of every step."""
    torch.manual_seed(seed)
    inputs = torch.randn(128, 4)
    targets = inputs @ torch.tensor([1.0, -2.0, 0.5, 3.0])
    model = torch.nn.Linear(4, 1)
    betas = settings["beta1"], settings["beta2"]
    optimizer = torch.optim.Adam(model.parameters(), lr=settings["lr"], betas=betas)
    losses = []
    for _ in range(100):
        batch = torch.randint(128, (8,))
        loss = (model(inputs[batch]).squeeze(1) - targets[batch]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    trainer = betaplane.Trainer("own loop", train, defaults={"lr": 0.1})
    phase_map = betaplane.map_phases(trainer, "beta1", "beta2", points=4, seeds=1, workers=0)
    print(phase_map)
    print(phase_map.recommendation.reason)
