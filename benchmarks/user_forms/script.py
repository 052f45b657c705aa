"""A training script run as a command."""

from __future__ import annotations

import sys

from benchmarks.user_forms.loop import Settings
from benchmarks.user_forms.vision import autoencoder_loop
from betaplane import Command


def script_form() -> Command:
    line = f"{sys.executable} -m benchmarks.user_forms.train_script"
    line += " --beta2 {beta2} --lr {lr} --seed {seed}"
    return Command(line, loss=r"stdout:loss=(\S+)", name="script", losses=60)


def script_loop(settings: Settings, seed: int) -> list[float]:
    return autoencoder_loop({**settings, "beta1": 0.9}, seed)
