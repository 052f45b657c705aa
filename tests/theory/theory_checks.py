"""Helpers of the tests of closed forms: golden numbers, moving averages, invalid input."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from betaplane.errors import BadInput

GOLDEN = Path(__file__).resolve().parents[1] / "data/golden"

PLANE = [
    (0.0, 0.0),
    (0.0, 0.999),
    (0.3, 0.9),
    (0.9, 0.8),
    (0.9, 0.81),
    (0.9, 0.9),
    (0.9, 0.95),
    (0.9, 0.999),
    (0.99, 0.95),
]


def golden(name: str, table: str) -> list[dict]:
    """The rows of a golden table, "inf" read as a number."""
    rows = json.loads((GOLDEN / f"{name}.json").read_text())[table]
    return [
        {key: math.inf if value == "inf" else value for key, value in row.items()} for row in rows
    ]


def average(gradients: np.ndarray, beta: float, start: float = 0.0) -> np.ndarray:
    """The running average after each gradient (along axis 0), by its recursion."""
    path, m = [], start
    for g in gradients:
        m = beta * m + (1 - beta) * g
        path.append(m)
    return np.array(path)


def refuses(call: Callable[[], object], text: str) -> None:
    """The call must raise a BadInput with `text`, the place, and a line or a name to write instead."""
    with pytest.raises(BadInput) as error:
        call()
    assert text in str(error.value)
    assert error.value.where
    assert error.value.instead or "Choose one of: " in str(error.value)
