"""Bytes of optimizer state: what every rule and format stores, against the formulas."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from betaplane.claims.checks import AtMost, Near
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Panel, Series, Table
from betaplane.claims.lab import Lab
from betaplane.optim import Adam as AdamOptimizer
from betaplane.optim import host_optimizer
from betaplane.rules import (
    ADOPT,
    SGD,
    AdaBelief,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamC,
    AdamMini,
    AdamW,
    Adan,
    AdEMAMix,
    AMSGrad,
    CautiousAdamW,
    LaProp,
    Lion,
    RMSprop,
    Sophia,
    StableAdamW,
    Yogi,
)
from betaplane.rules._rule import Rule
from betaplane.theory import state_bytes, zero_bytes

ROWS, COLUMNS = 512, 256
PARAMS = ROWS * COLUMNS
ADAM_TYPE = (Adam, AdamW, Adamax, AdamC, ADOPT, Yogi, AdaBelief, LaProp, StableAdamW, CautiousAdamW)
# bytes of float32 state per parameter
EXPECTED: dict[str, tuple[Rule, float]] = {
    "SGD": (SGD(), 0.0),
    "SGD with momentum": (SGD(momentum=0.9), 4.0),
    "Adagrad": (Adagrad(), 4.0),
    "RMSprop": (RMSprop(), 4.0),
    "Lion": (Lion(), 4.0),
    **{rule.__name__: (rule(), 8.0) for rule in ADAM_TYPE},
    "Sophia": (Sophia(), 8.0),
    "AMSGrad": (AMSGrad(), 12.0),
    "AdEMAMix": (AdEMAMix(), 12.0),
    "Adan": (Adan(), 16.0),
    "Adam-mini": (AdamMini(), 4.0 + 4.0 / COLUMNS),  # a mean of squares per row
    "Adafactor": (Adafactor(), 4.0 * (ROWS + COLUMNS) / PARAMS),
}
Storage = Literal["float32", "bfloat16", "8bit"]
FORMATS: tuple[Storage, ...] = ("float32", "bfloat16", "8bit")
LARGE, RANKS = 70e9, 64
# GB of Adam's states for 70 billion parameters
STATED = {"float32": 560.0, "bfloat16": 280.0, "8bit": 142.0}


def measure(lab: Lab) -> None:
    """Count the bytes of real optimizer states after a step on a matrix."""
    rows, ratios = [], []
    for name, (rule, expected) in EXPECTED.items():
        x = _matrix()
        measured = _bytes(_stepped(host_optimizer(lab.rule(rule), [x], lr=1e-3), x)) / PARAMS
        ratios.append(abs(measured - expected))
        rows.append((name, measured, expected))
    lab.measure("largest distance of a rule from its formula", max(ratios), "bytes per parameter")
    lab.tabulate(Table("State in float32", ("rule", "measured, bytes", "formula"), rows))
    by_name = {name: measured for name, measured, _ in rows}
    lab.measure("Lion / Adam", by_name["Lion"] / by_name["Adam"])
    lab.measure("AMSGrad / Adam", by_name["AMSGrad"] / by_name["Adam"])
    _measure_formats(lab)
    _measure_ranks(lab)
    x = _matrix()
    before = x.detach().clone()
    _stepped(host_optimizer(lab.rule(Adam()), [x], lr=1e-3), x)
    # g > 0: that the counted state is the state of a working optimizer
    lab.measure("mean first update of Adam / lr", ((x.detach() - before) / 1e-3).mean().item())


def _measure_formats(lab: Lab) -> None:
    rows, usual = [], state_bytes(2)
    for name in FORMATS:
        x = _matrix()
        measured = _bytes(_stepped(AdamOptimizer([x], lr=1e-3, storage=name), x)) / PARAMS
        lab.measure(f"Adam's state in {name}", measured, "bytes per parameter")
        total = measured * LARGE / 1e9
        lab.measure(f"Adam's state of 70 billion parameters in {name}", total, "GB", STATED[name])
        rows.append((name, measured, state_bytes(2, name), measured / float(usual), total))
    columns = ("format", "measured, bytes", "formula", "share of float32", "GB at 70 billion")
    lab.tabulate(Table("Adam's two moments by format", columns, rows))


def _measure_ranks(lab: Lab) -> None:
    """ZeRO: the state of one of several ranks, each of which has a part of the rows."""
    ranks = (1, 2, 4, 8, 16, 32, 64)
    shares = []
    for count in ranks:
        x = _matrix(ROWS // count)
        shares.append(_bytes(_stepped(host_optimizer(Adam(), [x], lr=1e-3), x)) / PARAMS)
    lab.measure("state of 1 of 64 ranks / state of one", shares[-1] / shares[0])
    stages = [zero_bytes(7.5e9, RANKS, stage) / 1e9 for stage in (0, 1, 2, 3)]
    rows = [(stage, f"{gb:.1f}") for stage, gb in enumerate(stages)]
    lab.tabulate(Table("7.5 billion parameters on 64 devices", ("ZeRO stage", "GB each"), rows))
    for stage, gb in enumerate(stages):
        note = "as published, Figure 1"
        lab.measure(f"ZeRO stage {stage}, 7.5 billion parameters", gb, "GB", ZERO[stage], note)
    series = (
        Series("measured", ranks, shares, style="points"),
        Series("8 / ranks", ranks, 8 / np.array(ranks)),
    )
    title = "Adam's state per rank"
    lab.draw(Panel(title, "ranks", "bytes per parameter", series, "log", "log"))


ZERO = (120.0, 31.4, 16.6, 1.9)  # GB


def _matrix(rows: int = ROWS) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.ones(rows, COLUMNS))


def _stepped(optimizer: Optimizer, x: Tensor) -> Optimizer:
    x.grad = torch.linspace(0.1, 1.0, x.numel()).view_as(x)
    optimizer.step()
    return optimizer


def _bytes(optimizer: Optimizer) -> int:
    """The bytes of all state tensors, but for scalars such as the step."""
    tensors = [t for state in optimizer.state.values() for t in state.values() if _is_large(t)]
    return sum(t.numel() * t.element_size() for t in tensors)


def _is_large(value: object) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0


CLAIM = Claim(
    name="state-memory",
    title="How much memory a state takes",
    statement="Adam stores 8 bytes per parameter in float32, Lion half of it, 8-bit states a quarter, "
    "and ZeRO divides it by the number of devices.",
    sources=(
        Source("T. Dettmers, M. Lewis, S. Shleifer, L. Zettlemoyer", 2022, "2110.02861", "Table 2"),
        Source("S. Rajbhandari, J. Rasley, O. Ruwase, Y. He", 2020, "1910.02054", "Figure 1"),
        Source("X. Chen et al.", 2023, "2302.06675", "Section 3.2 (Lion)"),
    ),
    setting="One matrix of 512 x 256 in this package's optimizers, after a step; scalars are not "
    "counted. 8-bit states have a float32 scale per block of 256 elements. ZeRO is measured as the "
    "state of a rank's rows; its GB are the paper's formula.",
    checks=(
        AtMost("largest distance of a rule from its formula", 1e-9),
        Near("Lion / Adam", 0.5, 1e-9),
        Near("AMSGrad / Adam", 1.5, 1e-9),
        Near("Adam's state in float32", 8.0, 1e-9),
        Near("Adam's state in bfloat16", 4.0, 1e-9),
        Near("Adam's state in 8bit", 2.03125, 1e-9),
        *(
            Near(f"Adam's state of 70 billion parameters in {name}", gb, 0.5)
            for name, gb in STATED.items()
        ),
        Near("state of 1 of 64 ranks / state of one", 1 / 64, 1e-9),
        *(
            Near(f"ZeRO stage {stage}, 7.5 billion parameters", gb, 0.05)
            for stage, gb in enumerate(ZERO)
        ),
        Near("mean first update of Adam / lr", -1.0, 1e-3),
    ),
    measure=measure,
    seeds=1,
)
