"""Digests of the numbers of a problem, and the fingerprint that includes them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from betaplane.problems import Problem, Trainer, fingerprint
from betaplane.problems.contents import close, contents, differing_names, equal, leaf_of


def of(**changes: object) -> Problem:
    fields = {
        "module": lambda: nn.Linear(2, 1), "loss": nn.functional.mse_loss, "inputs": torch.ones(8, 2),
        "targets": torch.ones(8, 1), "batch_size": 4,
    }  # fmt: skip
    return Problem("line", **{**fields, **changes})  # pyright: ignore


def test_a_single_bit_of_the_data_changes_the_contents():
    other = torch.ones(8, 2)
    other[7, 1] = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    assert differing_names(contents(of()), contents(of(inputs=other)), equal) == ["inputs"]
    assert differing_names(contents(of()), contents(of(inputs=other)), close) == []
    assert fingerprint(of()) != fingerprint(of(inputs=other))


def test_other_draws_are_never_close():
    draws = [
        leaf_of(torch.randn(n, generator=torch.Generator().manual_seed(n)))
        for n in (3, 300)
        for _ in "ab"
    ]
    assert close(draws[0], draws[1])
    for n in (1, 3, 300, 30_000):
        a, b = (torch.randn(n, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
        assert not close(leaf_of(a), leaf_of(b))
        assert close(leaf_of(a), leaf_of(a * (1 + 1e-6)))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.complex64, torch.bool, torch.int8, torch.float64]
)
def test_every_dtype_has_contents(dtype: torch.dtype, seed: int):
    data = (torch.rand(50, generator=torch.Generator().manual_seed(seed)) * 2).round().to(dtype)
    assert equal(leaf_of(data), leaf_of(data.clone()))
    assert not equal(leaf_of(data), leaf_of(data.flip(0)))
    assert leaf_of(data.to_sparse()).signature != leaf_of(data).signature


def test_values_that_the_loss_refers_to_are_part_of_the_fingerprint():
    def weighted(weight: object) -> Problem:
        return of(loss=lambda y, t: ((y - t).square() * weight).mean())

    weight = torch.tensor([1.0])
    assert fingerprint(weighted(weight)) == fingerprint(weighted(weight.clone()))
    assert fingerprint(weighted(weight)) != fingerprint(weighted(weight + 2**-20))
    assert fingerprint(weighted(1.0)) != fingerprint(weighted(1.0 + 1e-9))


def test_buffers_are_part_of_the_fingerprint():
    def with_buffer(value: float) -> nn.Module:
        module = nn.Linear(2, 1)
        module.register_buffer("scale", torch.tensor(value))
        return module

    assert fingerprint(of(module=lambda: with_buffer(1.0))) != fingerprint(
        of(module=lambda: with_buffer(2.0))
    )


def test_the_fingerprint_of_a_module_with_dropout_is_constant():
    dropout = of(module=lambda: nn.Sequential(nn.Dropout(), nn.Linear(2, 1)))
    assert fingerprint(dropout) == fingerprint(dropout)


def test_attributes_of_a_trainer_object_are_part_of_its_contents():
    class Mine:
        def __init__(self, data: torch.Tensor) -> None:
            self.data = data

        def train(self, settings: dict, seed: int) -> list[float]:
            return [1.0, float(self.data.sum())]

    first, second = (
        contents(Trainer("t", Mine(torch.full((2,), value)).train)) for value in (1.0, 2.0)
    )
    assert differing_names(first, second, equal) == ["train: self.data"]
