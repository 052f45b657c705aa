"""Map where your own problem trains, over beta2 and the learning rate."""

import torch

import betaplane

torch.manual_seed(0)  # the same data in every process and every time
x = torch.randn(256, 20)
y = (x[:, 0] > 0).long()


def net() -> torch.nn.Module:
    """Return a new model; its weights come from the seed of the run."""
    return torch.nn.Sequential(torch.nn.Linear(20, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))


loss = torch.nn.functional.cross_entropy
problem = betaplane.Problem("mine", net, loss, x, y, batch_size=16, steps=100, lr=0.02)

if __name__ == "__main__":  # worker processes import this file
    phase_map = betaplane.map_phases(problem, "beta2", "lr", points=4, seeds=1, workers=0)
    print(phase_map)
    advice = phase_map.recommendation
    print({name: advice.settings[name] for name in ("beta2", "lr")})
    print(advice.reason)
