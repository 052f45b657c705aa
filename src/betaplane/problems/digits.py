"""Handwritten digits, 8 x 8 pixels, 10 classes: 1,797 real images that are part of the package."""

from __future__ import annotations

import gzip
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from torch import Tensor

from betaplane.errors import BadInput
from betaplane.problems._classifier import classifier, error_rate
from betaplane.problems.family import family
from betaplane.problems.problem import Problem


@family
def digits(
    model: str = "mlp",
    hidden: int = 32,
    batch_size: int = 32,
    steps: int = 1000,
    lr: float = 0.01,
    schedule: str = "constant",
    warmup: float = 0.0,
    held_out: int = 0,
) -> Problem:
    """Classify handwritten digits: images of 64 pixels in [0, 1], 10 classes; the loss is the mean
    cross-entropy in nats.

    "mlp" is Linear(64, hidden), ReLU, Linear(hidden, 10); "logistic" is Linear(64, 10), which makes
    it convex; "conv" has two convolutions of 3 x 3.

    Source: E. Alpaydin, C. Kaynak, 1998, Optical Recognition of Handwritten Digits, UCI Machine
    Learning Repository, https://archive.ics.uci.edu/dataset/80 (CC BY 4.0): the test split, as
    scikit-learn distributes it.

    Args:
        model: "mlp", "logistic" or "conv".
        hidden: hidden units of the mlp, >= 1.
        batch_size: images per step, in [1, 1797].
        steps: steps per run.
        lr: peak learning rate.
        schedule: name of the learning-rate schedule.
        warmup: share of the steps spent on linear warmup, in [0, 1).
        held_out: images that are not trained on, in [0, 1796]; the share of them that is classified
            wrongly is measured beside the loss, and maps can judge by it.

    Example:
        >>> problem = digits()
        >>> problem.inputs.shape, problem.targets[:4].tolist()
        (torch.Size([1797, 64]), [0, 1, 2, 3])
        >>> sum(p.numel() for p in problem.fresh(seed=0).parameters())
        2410
    """
    inputs, targets = _images()
    validation: dict[str, Any] = {}
    if held_out:
        if not 0 <= held_out < len(inputs):
            raise BadInput(
                "held_out is out of range",
                value=held_out,
                allowed=f"[0, {len(inputs) - 1}]",
                where="digits",
                instead="held_out=597",
            )
        order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
        inputs, targets = inputs[order], targets[order]
        pair = inputs[:held_out], targets[:held_out]
        inputs, targets = inputs[held_out:], targets[held_out:]
        validation = {"validation": pair, "metric": error_rate}
    return classifier(
        "digits",
        inputs,
        targets,
        **validation,
        model=model,
        hidden=hidden,
        batch_size=batch_size,
        steps=steps,
        lr=lr,
        schedule=schedule,
        warmup=warmup,
        note="1,797 handwritten digits of 8 x 8 pixels (UCI), in the package",
    )


@cache
def _images() -> tuple[Tensor, Tensor]:
    """Pixels in [0, 1], float32 (1797, 64), and digits, int64 (1797,)."""
    packed = files("betaplane.problems").joinpath("data/digits.csv.gz").read_bytes()
    table = np.loadtxt(
        gzip.decompress(packed).decode().splitlines(), delimiter=",", dtype=np.float32
    )
    return torch.from_numpy(table[:, :64] / 16), torch.from_numpy(table[:, 64].astype(np.int64))
