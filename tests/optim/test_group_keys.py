"""Keys of param groups and arguments of optimizers: whose own they are, and what is a slip of the
pen.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import betaplane.optim
from betaplane.errors import BadInput
from betaplane.optim.group_keys import misspelled
from betaplane.rules import ALL

KINDS = [getattr(betaplane.optim, rule.__name__) for rule in ALL]
each = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
some = pytest.mark.parametrize(
    "kind", [betaplane.AdamW, betaplane.SGD, betaplane.Adafactor, betaplane.Lion]
)
OWN = {
    "lr_scale": 0.5, "rho": 0.05, "name": "layer_3", "layer": 3, "_id": 7, "initial_lr": 0.1, "max_lr": 0.2,
    "min_lr": 0.0, "base_momentum": 0.8, "max_momentum": 0.9, "lr_mult": 2.0, "decay_mult": 0.0, "swa_lr": 0.1,
    "weight_decay_mult": 1.0, "group_name": "head", "step": 3, "path": "encoder.layer.0", "label": "rate",
}  # fmt: skip


@each
def test_keys_of_the_users_own_are_kept(kind: Any) -> None:
    p, q = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = kind([{"params": [p], **OWN}], lr=0.1)
    optimizer.add_param_group({"params": [q], **OWN})
    p.grad = q.grad = torch.ones(3)
    optimizer.step()
    assert all(OWN.items() <= group.items() for group in optimizer.param_groups)
    fresh = kind([{"params": [p]}, {"params": [q]}], lr=0.1)
    fresh.load_state_dict(optimizer.state_dict())
    assert all(OWN.items() <= group.items() for group in fresh.param_groups)


SLIPS = {
    "weigth_decay": "weight_decay",
    "weightdecay": "weight_decay",
    "Weight-Decay": "weight_decay",
    "LR": "lr",
}


@some
@pytest.mark.parametrize("late", [False, True], ids=["constructor", "add_param_group"])
@pytest.mark.parametrize("slip", SLIPS)
def test_a_misspelled_option_of_a_group_is_refused(kind: Any, slip: str, late: bool) -> None:
    group = {"params": [nn.Parameter(torch.ones(2))], slip: 0.1}
    meant = SLIPS[slip]
    with pytest.raises(BadInput) as error:
        kind([nn.Parameter(torch.ones(2))]).add_param_group(group) if late else kind([group])
    assert str(error.value).startswith(
        f"Unknown option {slip!r}. Did you mean {meant!r}? Choose one of: lr, "
    )
    assert f"; a key of your own needs a name less like {meant})" in str(error.value)
    assert str(error.value).endswith(f'Try: "{meant}": ...')


@some
def test_a_refused_group_leaves_the_optimizer_as_it_was(kind: Any) -> None:
    optimizer = kind([nn.Parameter(torch.ones(2))])
    with pytest.raises(BadInput):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))], "weigth_decay": 0.1})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("kind", [betaplane.AdamW, betaplane.Lion], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "how", [{"max_norm": 1.0}, {"zero": True}, {"nonfinite": "skip"}, {"path": "eager"}], ids=str
)
def test_an_option_of_the_whole_optimizer_is_refused_in_a_group(
    kind: Any, how: dict[str, Any]
) -> None:
    (name,) = how
    with pytest.raises(
        BadInput, match=f"{name} is for all groups together: .* Try: {kind.__name__}"
    ):
        kind([{"params": [nn.Parameter(torch.ones(2))], **how}])


@pytest.mark.parametrize("kind", [betaplane.AdamW, betaplane.Lion], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("weigth_decay", "weight_decay"),
        ("beta", "betas"),
        ("max_nrom", "max_norm"),
        ("storge", "storage"),
    ],
)
def test_a_misspelled_argument_has_its_nearest_name_in_the_error(
    kind: Any, name: str, meant: str
) -> None:
    with pytest.raises(BadInput, match=rf"Unknown argument '{name}'. .* Try: {meant}=\.\.\."):
        kind([nn.Parameter(torch.ones(2))], **{name: 0.1})


NEAR = [
    ("Lr", "lr"),
    ("ep", "eps"),
    ("epss", "eps"),
    ("esp", "eps"),
    ("beta2", "betas"),
    ("momentun", "momentum"),
]
NEAR += [
    ("wieght_decy", "weight_decay"),
    ("clp", "clip"),
    ("moemntum", "momentum"),
    ("maximise", "maximize"),
]
FAR = [
    "eps_scale",
    "flip",
    "delay",
    "lrs",
    "max_momentum",
    "momentum_scale",
    "alpha_bar",
    "weight",
    "m",
    "rate",
]
KNOWN = ["lr", "betas", "eps", "weight_decay", "momentum", "clip", "decay", "maximize", "alpha"]


def test_a_slip_is_a_letter_or_two() -> None:
    assert {name: misspelled(name, KNOWN) for name, _ in NEAR} == dict(NEAR)
    assert [name for name in (*FAR, *OWN, *KNOWN) if misspelled(name, KNOWN)] == []
