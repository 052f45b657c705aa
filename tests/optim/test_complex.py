"""Complex parameters are pairs of real ones, under every option, or are refused when the optimizer
is made.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import betaplane
import betaplane.optim
from betaplane.errors import BadInput
from betaplane.rules import ALL

# what they do with rows and columns is another matter for pairs
REFUSED = {"Adafactor", "AdamMini"}
KINDS = [getattr(betaplane.optim, rule.__name__) for rule in ALL if rule.__name__ not in REFUSED]
each = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
HOW: list[dict[str, Any]] = [
    {},
    {"max_norm": 0.5, "average": 0.5, "zero": True, "nonfinite": "skip"},
]


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex128) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@each
@pytest.mark.parametrize("shape", [(7, 3), (), (1,)], ids=str)
@pytest.mark.parametrize("how", HOW, ids=str)
def test_complex_numbers_are_pairs_under_every_option(
    kind: Any, how: dict[str, Any], shape: tuple[int, ...]
) -> None:
    p = nn.Parameter(numbers(*shape))
    q = nn.Parameter(torch.view_as_real(p.detach()).clone())
    ours, pairs = (kind([x], lr=0.01, **how) for x in (p, q))
    for g in numbers(3, *shape, seed=1):
        p.grad, q.grad = g.clone(), torch.view_as_real(g).clone()
        ours.step()
        pairs.step()
    assert torch.allclose(torch.view_as_real(p.detach()), q, rtol=1e-10, atol=1e-12)
    assert ours.norms == pytest.approx(pairs.norms) if "max_norm" in how else ours.norms is None


def test_a_complex_gradient_counts_in_the_norm_of_all() -> None:
    p, q = nn.Parameter(torch.ones(1, dtype=torch.complex64)), nn.Parameter(torch.ones(1))
    p.grad, q.grad = torch.tensor([3 + 4j]), torch.tensor([12.0])
    optimizer = betaplane.SGD([p, q], lr=1.0, max_norm=6.5)
    optimizer.step()
    assert optimizer.norms == pytest.approx((13.0, 6.5), rel=1e-6)
    assert p.item() == pytest.approx(1 - (1.5 + 2j), rel=1e-6)


@pytest.mark.parametrize("kind", [betaplane.AdamW, betaplane.Lion], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("storage", ["float32", "bfloat16", "8bit", "dynamic 8bit"])
def test_another_storage_for_complex_parameters_is_refused(kind: Any, storage: str) -> None:
    real, p = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3, dtype=torch.complex64))
    text = f"in their own dtype only: got '{storage}'; expected 'parameter' \\(a torch.complex64 parameter of shape"
    with pytest.raises(BadInput, match=text):
        kind([real, p], storage=storage)
    optimizer = kind([real], storage=storage)
    with pytest.raises(BadInput, match=text):
        optimizer.add_param_group({"params": p})
    assert len(optimizer.param_groups) == 1
    optimizer = kind([p])
    optimizer.param_groups[0]["storage"] = storage
    p.grad = torch.ones_like(p)
    with pytest.raises(BadInput, match=text):
        optimizer.step()
    assert torch.equal(p, torch.ones_like(p))


@pytest.mark.parametrize(
    "dtype", [torch.float8_e4m3fn, torch.complex32, torch.int32, torch.bool], ids=str
)
@pytest.mark.parametrize("kind", [betaplane.AdamW, betaplane.Lion], ids=lambda kind: kind.__name__)
@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
def test_a_dtype_that_no_step_can_take_is_refused(kind: Any, dtype: torch.dtype) -> None:
    strange = torch.zeros(3, dtype=dtype)
    with pytest.raises(BadInput, match=f"A parameter is not of floating point: got {dtype}"):
        kind([strange])
    optimizer = kind([nn.Parameter(torch.ones(3))])
    with pytest.raises(BadInput, match=f"A parameter is not of floating point: got {dtype}"):
        optimizer.add_param_group({"params": strange})
    assert len(optimizer.param_groups) == 1
