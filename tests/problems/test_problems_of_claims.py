"""The built-in problems of claims, by values known by hand."""

import pytest
import torch

from betaplane.errors import BadInput
from betaplane.problems import digits, linear_transformer, modular, rare_classes


def test_modular_sums_are_right_and_the_halves_are_disjoint():
    problem = modular(modulus=7)
    held_out, sums = problem.validation
    pairs = torch.cat([problem.inputs, held_out])
    assert len(pairs) == 49 == len(pairs.unique(dim=0))
    assert (torch.cat([problem.targets, sums]) == pairs.sum(1) % 7).all()


def test_a_linear_transformer_can_take_a_step_of_gradient_descent():
    """A = 1, B = 0 in one layer is a step of gradient descent from w = 0, with lr 1 / n."""
    problem = linear_transformer(layers=1, prompts=8, batch_size=8)
    module = problem.fresh(seed=0)
    with torch.no_grad():
        module.A.copy_(torch.eye(5)[None])
        module.B.zero_()
    z = problem.inputs
    x, y, query = z[:, :5, :-1], z[:, 5, :-1], z[:, :5, -1]
    w = (x * y[:, None]).mean(-1)
    torch.testing.assert_close(module(z), -(w * query).sum(-1))


def test_rare_classes_hold_out_the_rarest_half():
    problem = rare_classes(classes=16)
    counts = problem.targets.bincount(minlength=16)
    assert counts[0] == counts.max()
    rare = problem.validation[1]
    assert len(rare) == 256
    assert rare.min() >= problem.targets.sort().values[255]


def test_digits_hold_out_images_and_measure_their_errors():
    problem = digits(held_out=97)
    assert problem.examples == 1700
    images, labels = problem.validation
    assert len(images) == 97
    right = torch.nn.functional.one_hot(labels, 10).float()
    assert problem.metric(right, labels).item() == 0.0
    assert problem.metric(-right, labels).item() == 1.0


@pytest.mark.parametrize("held_out", [-1, 1797, 5000])
def test_digits_refuse_to_hold_out_all_images(held_out):
    with pytest.raises(BadInput, match=r"expected \[0, 1796\]"):
        digits(held_out=held_out)
