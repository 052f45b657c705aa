"""A training script of 60 lines, for `benchmarks.command`: logistic regression with Adam."""

import argparse
import math
import random

DIMENSIONS = 4
EXAMPLES = 64
STEPS = 150


def parse():
    """Settings of the run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--beta1", type=float, default=0.9)
    parser.add_argument("--beta2", type=float, default=0.999)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def make_data():
    """Examples with a label that a plane separates, up to noise."""
    generator = random.Random(0)
    normal = [1.0, -2.0, 0.5, 0.0]
    data = []
    for _ in range(EXAMPLES):
        x = [generator.gauss(0, 1) for _ in range(DIMENSIONS)]
        score = sum(a * b for a, b in zip(x, normal, strict=True)) + generator.gauss(0, 0.3)
        data.append((x, 1.0 if score > 0 else 0.0))
    return data


def probability(weights, x):
    """P(label = 1)."""
    score = sum(w * a for w, a in zip(weights, x, strict=True))
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, score))))


def main():
    """Train, and print the loss of every step."""
    settings, data = parse(), make_data()
    generator = random.Random(settings.seed)
    weights, m, v = ([0.0] * DIMENSIONS for _ in range(3))
    for t in range(1, STEPS + 1):
        batch = generator.sample(data, 8)
        gradient, loss = [0.0] * DIMENSIONS, 0.0
        for x, label in batch:
            p = probability(weights, x)
            loss -= math.log(p if label else 1 - p) / len(batch)
            for i in range(DIMENSIONS):
                gradient[i] += (p - label) * x[i] / len(batch)
        for i, g in enumerate(gradient):
            m[i] = settings.beta1 * m[i] + (1 - settings.beta1) * g
            v[i] = settings.beta2 * v[i] + (1 - settings.beta2) * g * g
            m_hat = m[i] / (1 - settings.beta1**t)
            v_hat = v[i] / (1 - settings.beta2**t)
            weights[i] -= settings.lr * m_hat / (math.sqrt(v_hat) + 1e-8)
        print(f"step {t} loss={loss:.6f}")


main()
