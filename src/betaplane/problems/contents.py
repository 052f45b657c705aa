"""The numbers that make up a problem, so that two loads of one file can be compared."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from betaplane.problems.captured import captured
from betaplane.problems.problem import FUNCTIONS, Problem, Trainer

LARGEST = 2**30  # bytes; of larger tensors a sample is hashed, and everything is summed
CLOSE = 1e-3  # relative difference that another number of threads may make


class Leaf(NamedTuple):
    """What is compared of one tensor or number."""

    kind: str  # type, shape, dtype
    digest: str  # of every bit
    summary: tuple[float, ...]  # of floating-point values: norm, mean, projection; else ()


Contents = Mapping[str, Leaf]


def contents(problem: Problem | Trainer, *, data: bool = True) -> Contents:
    """Data, parameters and buffers at seed 0, and all numbers that the problem's functions refer
    to, by name.

    Args:
        problem: the problem.
        data: whether inputs and targets are among them.

    Example:
        >>> from betaplane.problems.digits import digits
        >>> list(contents(digits()))[:3]
        ['inputs', 'targets', 'parameter 0.weight at seed 0']
    """
    if isinstance(problem, Trainer):
        return {name: leaf_of(value) for name, value in captured("train", problem.train)}
    own = {"inputs": problem.inputs, "targets": problem.targets}
    named = {**(own if data else {}), **_fresh(problem)}
    for name in FUNCTIONS:
        named |= dict(captured(name, getattr(problem, name), skip=tuple(own.values())))
    return {name: leaf_of(value) for name, value in named.items()}


def differing(one: Contents, other: Contents, same: Callable[[Leaf, Leaf], bool]) -> list[str]:
    """The names under which two loads differ, those that only one of them has included."""
    return [
        name
        for name in dict.fromkeys([*one, *other])
        if name not in one or name not in other or not same(one[name], other[name])
    ]


def equal(one: Leaf, other: Leaf) -> bool:
    """Whether every bit is the same."""
    return one == other


def close(one: Leaf, other: Leaf) -> bool:
    """Whether they are the same but for rounding, which another number of threads may change."""
    if one.kind != other.kind or not one.summary:
        return one == other
    scale = CLOSE * max(map(abs, one.summary + other.summary))
    return one == other or all(
        abs(a - b) <= scale for a, b in zip(one.summary, other.summary, strict=True)
    )


def leaf_of(value: Any) -> Leaf:
    """What is compared of a tensor, an array, a number or a random generator."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        with suppress(TypeError):  # types that torch lacks
            value = torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, Tensor):
        return _of_tensor(value)
    state = _state(value)
    summary = (float(value),) if isinstance(value, float) and math.isfinite(value) else ()
    return Leaf(type(value).__name__, hashlib.sha256(state).hexdigest(), summary)


def _state(value: Any) -> bytes:
    if isinstance(value, torch.Generator):
        return value.get_state().numpy().tobytes()
    if isinstance(value, (random.Random, np.random.RandomState)):
        return repr(
            value.getstate() if isinstance(value, random.Random) else value.get_state()
        ).encode()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state).encode()
    return value.tobytes() if isinstance(value, (np.ndarray, np.generic)) else repr(value).encode()


def _of_tensor(value: Tensor) -> Leaf:
    kind = f"{tuple(value.shape)} {value.dtype} {value.layout}"
    value = value.detach()
    if value.layout != torch.strided:
        value = value.to_dense()
    if value.device.type == "meta" or value.is_quantized:
        return Leaf(kind, "", ())
    value = value.resolve_conj().resolve_neg()
    return Leaf(
        kind,
        hashed(value),
        _summary(value) if value.is_floating_point() or value.is_complex() else (),
    )


def hashed(data: Tensor) -> str:
    """sha256 of a tensor; of a very large one that of evenly spaced rows, and the sum of all its
    bytes.
    """
    stride = -(-data.nbytes // LARGEST) or 1
    sample = data[::stride] if stride > 1 and data.dim() else data
    digest = hashlib.sha256(_bytes(sample).numpy().data).hexdigest()
    return (
        digest
        if stride == 1
        else f"{digest} {sum(int(_bytes(part).sum()) for part in data.split(2**16))}"
    )


def _bytes(data: Tensor) -> Tensor:
    return data.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


def _summary(value: Tensor) -> tuple[float, ...]:
    """Norm, mean and a projection, scaled by the number of elements; not of what is not finite."""
    flat = torch.view_as_real(value) if value.is_complex() else value
    flat = flat.reshape(-1)[: 2**20].cpu().double().nan_to_num(0.0, 1.0, -1.0)
    n = max(len(flat), 1)
    wave = torch.cos(torch.arange(len(flat), dtype=torch.float64) ** 2)
    return (
        float(flat.norm()) / math.sqrt(n),
        float(flat.sum()) / math.sqrt(n),
        float(flat @ wave) / math.sqrt(n),
    )


def _fresh(problem: Problem) -> dict[str, Tensor]:
    """Parameters and buffers at seed 0; none where the module cannot be made, which `check`
    reports.
    """
    module = nn.Module()
    with suppress(Exception), seeded():
        module = problem.fresh(seed=0)
    parameters = {f"parameter {name} at seed 0": p for name, p in module.named_parameters()}
    return parameters | {f"buffer {name} at seed 0": b for name, b in module.named_buffers()}


@contextmanager
def seeded() -> Iterator[None]:
    """Draws of `random` and NumPy that start from 0 inside the block and continue after it as
    before it.
    """
    before = random.getstate(), np.random.get_state()
    random.seed(0)
    np.random.seed(0)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
