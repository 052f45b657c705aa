"""Digests of the numbers that make up a problem, to compare two loads of one file."""

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

from betaplane.problems.batch import tensors_in
from betaplane.problems.captured import captured_values
from betaplane.problems.generators import preserve_generators, seed_generators
from betaplane.problems.problem import Problem, Trainer
from betaplane.problems.problem_checks import FUNCTIONS
from betaplane.problems.snapshot import put_back

MAX_HASHED_BYTES = 2**30  # of larger tensors a sample is hashed, and all bytes are summed
THREADS_RTOL = 1e-3  # relative difference that another number of threads may make


class Leaf(NamedTuple):
    """The digest of one tensor or number."""

    signature: str  # type, shape, dtype
    digest: str  # of every bit
    summary: tuple[float, ...]  # of floating-point values: norm, mean, projection; else ()


Contents = Mapping[str, Leaf]


def contents(problem: Problem | Trainer, *, data: bool = True) -> dict[str, Leaf]:
    """Digests of data, of parameters and buffers at seed 0, and of all numbers that the problem's
    functions refer to, by name.

    Args:
        problem: the problem.
        data: whether to include inputs and targets, if they are in memory.

    Example:
        >>> from betaplane.problems.digits import digits
        >>> list(contents(digits()))[:3]
        ['inputs', 'targets', 'parameter 0.weight at seed 0']
    """
    if isinstance(problem, Trainer):
        return {name: leaf_of(value) for name, value in captured_values("train", problem.train)}
    own = {"inputs": problem.inputs, "targets": problem.targets} if problem.data is None else {}
    named = {**(own if data else {}), **_fresh(problem)}
    for name in FUNCTIONS:
        named |= dict(captured_values(name, getattr(problem, name), skip=tuple(own.values())))
    leaves = {name: leaf_of(value) for name, value in named.items()}
    return leaves if problem.data is None else leaves | contents_of_data(problem)


def contents_of_data(problem: Problem) -> dict[str, Leaf]:
    """Digests of the tensors and arrays that a problem's data refer to, and of the tensors of the
    first minibatch at seed 0; the data and the generators do not change.
    """
    captured = captured_values("data", problem.data)
    leaves = {name: leaf_of(v) for name, v in captured if isinstance(v, (Tensor, np.ndarray))}
    with suppress(Exception), preserve_generators(), put_back(data=problem.data):
        seed_generators(0)
        batch = next(problem.batches(problem.batch_size, seed=0))
        leaves |= {f"batch, tensor {i}": leaf_of(t) for i, t in enumerate(tensors_in(batch))}
    return leaves


def differing_names(a: Contents, b: Contents, same: Callable[[Leaf, Leaf], bool]) -> list[str]:
    """The names under which two loads differ, including names that only one of them has."""
    return [
        name
        for name in dict.fromkeys([*a, *b])
        if name not in a or name not in b or not same(a[name], b[name])
    ]


def equal(a: Leaf, b: Leaf) -> bool:
    """Whether every bit is the same."""
    return a == b


def close(a: Leaf, b: Leaf) -> bool:
    """Whether two leaves agree up to rounding, which another number of threads may change."""
    if a.signature != b.signature or not a.summary:
        return a == b
    atol = THREADS_RTOL * max(map(abs, a.summary + b.summary))
    return a == b or all(abs(x - y) <= atol for x, y in zip(a.summary, b.summary, strict=True))


def leaf_of(value: Any) -> Leaf:
    """The digest of a tensor, an array, a number or a random generator."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        with suppress(TypeError):  # dtypes that torch lacks
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
    signature = f"{tuple(value.shape)} {value.dtype} {value.layout}"
    value = value.detach()
    if value.layout != torch.strided:
        value = value.to_dense()
    if value.device.type == "meta" or value.is_quantized:
        return Leaf(signature, "", ())
    value = value.resolve_conj().resolve_neg()
    summary = _summary(value) if value.is_floating_point() or value.is_complex() else ()
    return Leaf(signature, tensor_digest(value), summary)


def tensor_digest(data: Tensor) -> str:
    """The sha256 of a tensor; for a very large one, of evenly spaced rows, with the sum of all
    bytes.
    """
    stride = -(-data.nbytes // MAX_HASHED_BYTES) or 1
    sample = data[::stride] if stride > 1 and data.dim() else data
    digest = hashlib.sha256(_bytes(sample).numpy().data).hexdigest()
    if stride == 1:
        return digest
    return f"{digest} {sum(int(_bytes(part).sum()) for part in data.split(2**16))}"


def _bytes(data: Tensor) -> Tensor:
    return data.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


def _summary(value: Tensor) -> tuple[float, ...]:
    """Norm, mean and a projection, scaled by the number of elements; non-finite elements count as
    0, 1 or -1.
    """
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
    """Parameters and buffers at seed 0; none if the module raises an error (see `check`)."""
    module = nn.Module()
    with suppress(Exception), seeded():
        module = problem.fresh(seed=0)
    parameters = {f"parameter {name} at seed 0": p for name, p in module.named_parameters()}
    return parameters | {f"buffer {name} at seed 0": b for name, b in module.named_buffers()}


@contextmanager
def seeded() -> Iterator[None]:
    """Seed `random` and NumPy with 0 inside the block; restore their states after it."""
    before = random.getstate(), np.random.get_state()
    random.seed(0)
    np.random.seed(0)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
