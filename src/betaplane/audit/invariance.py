"""A test of which rescalings of the gradients leave an optimizer's steps unchanged."""

from __future__ import annotations

import torch
from torch import Tensor

from betaplane.audit.black_box import BlackBox, finite
from betaplane.audit.probes import NO_DECAY, Finding
from betaplane.audit.trial import sample

WITHOUT_EPS = {**NO_DECAY, "eps": 1e-30}
TOLERANCE = 1e-3  # relative: an eps that cannot be set has an effect below it at factors >= 1


def rescaling(subject: BlackBox) -> Finding:
    """Whether steps are invariant to a factor of all gradients, or to a factor per element.

    A factor per element is a rescaling of the coordinates (a diagonal matrix). Steps that are
    invariant to it do not depend on the units of each weight; steps of rules with a row, column,
    block or tensor in their denominator do.
    """
    g = sample(steps=10)
    generator = torch.Generator().manual_seed(0)
    exponents = torch.randint(0, 7, g.shape[1:], generator=generator, dtype=g.dtype)
    plain, together, apart = (_steps(subject, factor * g) for factor in (1.0, 64.0, 2**exponents))
    if not plain.any():
        return Finding("unknown: the steps move nothing")
    if not _same(plain, together):
        return Finding("of the gradients changes the steps")
    if not _same(plain, apart):
        return Finding("of all gradients by one factor changes nothing; a factor per element does")
    return Finding("of the gradients, by one factor or one per element, changes nothing")


def _steps(subject: BlackBox, gradients: Tensor) -> Tensor:
    """The steps of a parameter that starts at zero."""
    return finite(subject.path(0 * gradients[0], gradients, WITHOUT_EPS).points).diff(dim=0)


def _same(first: Tensor, second: Tensor) -> bool:
    scale = first.abs().mean()
    return bool(((first - second).abs() <= TOLERANCE * (first.abs() + scale)).all())
