"""A training script that knows nothing of betaplane: it takes flags and prints its losses."""

import argparse

from benchmarks.user_forms.loop import train
from benchmarks.user_forms.vision import Tied, only_images, reconstruction

parser = argparse.ArgumentParser()
parser.add_argument("--beta2", type=float, required=True)
parser.add_argument("--lr", type=float, required=True)
parser.add_argument("--seed", type=int, required=True)
options = parser.parse_args()
settings = {"beta1": 0.9, "beta2": options.beta2, "lr": options.lr}
for step, loss in enumerate(train(settings, options.seed, Tied, only_images, reconstruction)):
    print(f"step {step} loss={loss!r}")
