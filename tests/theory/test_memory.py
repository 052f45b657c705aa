"""Bytes of states and of ZeRO's stages against the golden table, the paper's figure and DeepSpeed's
page.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from betaplane.errors import BadInput
from betaplane.theory import deepspeed_bytes, number_bytes, state_bytes, zero_bytes

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "data" / "golden" / "statistics_and_memory.json").read_text()
)

STATES = {  # the golden table's word for it, and how it is said here
    "sgd": (0,),
    "sgd_momentum/lion/muon (fp32)": (1,),
    "adam (fp32)": (2,),
    "adam (bf16 states)": (2, "bfloat16"),
    "adam 8-bit, block 256": (2, "8bit"),
    "adam 8-bit, block 2048": (2, "8bit", 0.0, 2048),
    "adam 4-bit, block 128": (2, "4bit"),
    "amsgrad/ademamix/schedule-free reference minus x": (3,),
    "adan": (4,),
    "lbfgs h=100 (fp32; 2h pairs + direction + previous gradient)": (202,),
    "lbfgs h=10 (fp32; the same)": (22,),
}


@pytest.mark.parametrize("row", GOLDEN["state_memory"], ids=lambda row: row["state"])
def test_states(row: dict) -> None:
    found = state_bytes(*STATES[row["state"]])
    assert found == row["bytes_per_param"]
    assert found * 70 == row["gigabytes_70b"]


@pytest.mark.parametrize("row", GOLDEN["zero"], ids=lambda row: row["nd"])
def test_stages(row: dict) -> None:
    assert zero_bytes(1, row["nd"], 0) == row["ddp"]
    for stage in (1, 2, 3):
        assert zero_bytes(1, row["nd"], stage) == row[f"stage{stage}"]
        assert zero_bytes(70e9, row["nd"], stage) / 1e9 == pytest.approx(
            row[f"gigabytes_70b_stage{stage}"], rel=1e-15
        )


def test_on_one_device_stages_are_the_same() -> None:
    for states in (0.0, 2.03125, 8.0, 16.0):
        assert {zero_bytes(1e9, 1, stage, states) for stage in (0, 1, 2, 3)} == {(8 + states) * 1e9}


def test_stages_add_up_over_devices() -> None:
    """What all devices hold together is one whole model and, of each part that is not split, a copy
    a device.
    """
    n, states = 8, 4.0
    whole = zero_bytes(1e9, 1, 0, states)
    for stage, copies in ((0, 2 + 2 + 4 + states), (1, 2 + 2), (2, 2), (3, 0)):
        assert n * zero_bytes(1e9, n, stage, states) == whole + (n - 1) * copies * 1e9


@pytest.mark.parametrize(
    ("states", "parts", "total"),
    [
        (state_bytes(2), {"weights": 4, "gradients": 4, "copy": 0}, 16.0),  # float32
        (state_bytes(2), {}, 16.0),  # mixed precision
        (state_bytes(2), {"gradients": 4}, 18.0),
        (state_bytes(2, "bfloat16"), {"copy": 0}, 8.0),  # bfloat16 throughout
        (state_bytes(2, "bfloat16"), {"copy": 2}, 10.0),  # the same with Kahan's compensation
        (state_bytes(2, "8bit"), {"copy": 0}, 6.03125),
    ],
)
def test_ways_to_train_on_one_device(states: float, parts: dict, total: float) -> None:
    assert zero_bytes(1, 1, 0, states, **parts) == total


def test_deepspeed_counts_a_float32_gradient_more() -> None:
    assert (deepspeed_bytes(1, 1, 2), deepspeed_bytes(1, 1, 3)) == (20.0, 18.0)
    for n in (1, 8, 1024):
        assert deepspeed_bytes(1, n, 2) - zero_bytes(1, n, 2) == 4 / n
        assert (
            deepspeed_bytes(1, n, 3, largest=0.5) - zero_bytes(1, n, 3) == 4 / n - 2 / n + 4 * 0.5
        )


def test_rows_and_columns_stay_in_float32() -> None:
    assert state_bytes(1, "8bit", rest=0.25) == 1.015625 + 1.0
    assert state_bytes(0, "bfloat16", rest=0.25) == state_bytes(0, "8bit", rest=0.25) == 1.0


BAD = [
    (
        lambda: number_bytes("int8"),
        "Unknown form 'int8'. Choose one of: float32, bfloat16, float16, 8bit, 4bit (number_bytes).",
    ),
    (
        lambda: number_bytes("8bit", 0),
        "block is out of range: got 0.0; expected [1, inf) (number_bytes",
    ),
    (lambda: state_bytes(-1), "tensors is out of range: got -1.0; expected [0, inf) (state_bytes"),
    (lambda: state_bytes(2, rest=math.nan), "rest is out of range: got nan"),
    (
        lambda: zero_bytes(-1, 1, 1),
        "params is out of range: got -1.0; expected [1, 1e18] (zero_bytes). Try: params=70000000000.0",
    ),
    (lambda: zero_bytes(math.inf, 1, 1), "params is out of range: got inf"),
    (
        lambda: zero_bytes(1, 0, 1),
        "ranks is out of range: got 0.0; expected a whole number in [1, inf) (zero_bytes). Try: ranks=64",
    ),
    (lambda: zero_bytes(1, 2.5, 1), "ranks is out of range: got 2.5"),
    (lambda: zero_bytes(1, math.nan, 1), "ranks is out of range: got nan"),
    (lambda: zero_bytes("7e9", 8, 3), "params is not a number: got '7e9' (zero_bytes"),
    (lambda: number_bytes("8bit", block="x"), "block is not a number: got 'x'"),
    (lambda: number_bytes(["8bit"]), "Unknown form ['8bit']"),
    (lambda: zero_bytes(1, 1, 4), "There is no such stage: got 4; expected 0, 1, 2, 3 (zero_bytes"),
    (
        lambda: zero_bytes(1, 1, 1, states=-1.0),
        "states is out of range: got -1.0; expected [0, inf)",
    ),
    (lambda: zero_bytes(1, 1, 1, copy=-1.0), "copy is out of range: got -1.0"),
    (
        lambda: deepspeed_bytes(1, 1, 1),
        "There is no such estimate: got 1; expected 2, 3 (deepspeed_bytes",
    ),
    (
        lambda: deepspeed_bytes(1, 1, 3, largest=-1.0),
        "largest is out of range: got -1.0; expected [0, inf)",
    ),
]


@pytest.mark.parametrize(("call", "text"), BAD, ids=[text[:40] for _, text in BAD])
def test_bad_input(call, text: str) -> None:
    with pytest.raises(BadInput) as error:
        call()
    assert text in str(error.value)
