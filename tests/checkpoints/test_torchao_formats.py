"""Moments in torchao's formats of 4 bits and of float8, decoded as its `dequantize` does."""

from __future__ import annotations

from typing import Any

import torch

from betaplane.checkpoints.layer import GroupSettings, Layer, checked
from betaplane.checkpoints.stored import InertTensor


def stored(**fields: Any) -> Any:
    tensor = InertTensor()
    tensor.__dict__.update(fields)
    return tensor


def layer_of(m: Any, v: Any) -> Layer:
    state = {"step": 1, "exp_avg": m, "exp_avg_sq": v}
    return checked(Layer("x", state, GroupSettings(1e-3, 0.9, 0.999, 1e-8)))


def test_two_codes_of_4_bits_are_unpacked_from_each_byte():
    table = torch.arange(1, 17) / 16
    codes = torch.tensor([0x0F, 0x31], dtype=torch.uint8)  # codes 0, 15, 3, 1
    scale = torch.tensor([2.0, 8.0])  # of blocks of 2 elements
    packed = stored(codes=codes, scale=scale, qmap=table, _shape=(2, 2), block_size=2)
    layer = layer_of(packed, packed)
    assert layer.dtype == "4bit"
    assert layer.v.tolist() == [[2 / 16, 2.0], [8 * 4 / 16, 8 * 2 / 16]]


def test_float8_is_scaled_by_block():
    codes = torch.tensor([[0.5, 1.5], [-2.0, 448.0]]).to(torch.float8_e4m3fn)
    scale = torch.tensor([2.0, 10.0])
    layer = layer_of(*(stored(codes=codes, scale=scale, block_size=2) for _ in range(2)))
    assert layer.dtype == "8bit"
    assert layer.m.tolist() == [[1.0, 3.0], [-20.0, 4480.0]]
