"""Which rescalings of the gradients leave an optimizer's steps unchanged."""

import pytest
import torch

import betaplane
from betaplane.audit.black_box import BlackBox
from betaplane.audit.invariance import rescaling


class Still(torch.optim.Optimizer):
    """An optimizer that never moves."""

    def __init__(self, params):
        super().__init__(params, {"lr": 0.1})

    def step(self, closure=None):
        """Do nothing."""


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        (torch.optim.SGD, "changes the steps"),
        (torch.optim.Adam, "one per element, changes nothing"),
        (betaplane.Lion, "one per element, changes nothing"),
        (betaplane.AdamMini, "a factor per element does"),
        (torch.optim.Adafactor, "a factor per element does"),
        (Still, "unknown: the steps move nothing"),
    ],
)
def test_rescaling_is_measured(cls, text):
    assert text in rescaling(BlackBox(cls, {})).text
