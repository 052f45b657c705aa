"""C code that loads and stores elements in each storage format."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from betaplane.optim.blocks import BLOCK
from betaplane.optim.stochastic_rounding import GOLDEN_STEP, noise_stream
from betaplane.optim.storage_formats import Companded, Format, StochasticBFloat16

C_TYPES = {
    torch.float32: "float",
    torch.float64: "double",
    torch.bfloat16: "uint16_t",
    torch.uint8: "uint8_t",
}
"""The dtypes that compiled code can load and store, and their C types."""


class StoreCode(NamedTuple):
    """Lines of C that store one tensor."""

    store: list[str]  # in the loop over elements
    declare: list[str]  # before the loop
    finish: list[str]  # after the loop: the scale
    encode: list[str]  # in a second loop over elements


def golden_table() -> str:
    """The multiples of the golden ratio within a block, as a table: computing the products is
    slower.
    """
    multiples = ",".join(f"{i * GOLDEN_STEP & 0xFFFFFFFF}u" for i in range(BLOCK))
    return f"static const unsigned lattice[{BLOCK}] = {{{multiples}}};"


def load_expression(i: int, stored: Format | Any) -> str:
    """The value of element i of input number `i`, decoded."""
    if isinstance(stored, Companded):
        shift, base = stored.dropped_bits, "127u << 23"
        if not stored.signed:
            return f"(f_of(((u32)p{i}[i] << {shift}) + ({base})) - 1) * unit{i}"
        code = f"(int)(int8_t)p{i}[i]"
        value = f"(f_of(((u32)abs({code}) << {shift}) + ({base})) - 1) * unit{i}"
        return f"f_of(b_of({value}) | ((u32)({code}) & 0x80000000u))"
    if stored.dtype == torch.bfloat16:
        return f"of_bf16(p{i}[i])"
    return f"(real)p{i}[i]"


def store_code(i: int, stored: Format | Any, value: str) -> StoreCode:
    """The lines that store the new value of x (i = 0) or of tensor i - 1.

    Args:
        i: the index among x and the tensors; the gradient, which is input 1, is not stored.
        stored: its storage format.
        value: the expression of the new element.
    """
    place = i + (i > 0)
    if isinstance(stored, Companded):
        return _store_companded(i, place, value, stored)
    if isinstance(stored, StochasticBFloat16):
        bits = random_bits_expression(noise_stream(i), 16)
        return StoreCode([f"p{place}[i] = to_bf16_randomly({value}, {bits});"], [], [], [])
    cast = f"to_bf16({value})" if stored.dtype == torch.bfloat16 else value
    return StoreCode([f"p{place}[i] = {cast};"], [], [], [])


def _store_companded(i: int, place: int, value: str, stored: Companded) -> StoreCode:
    """The loop keeps the new elements and finds the largest; a second loop encodes them."""
    shift = stored.dropped_bits
    bits = f"b_of({value})" + " & 0x7fffffffu" * stored.signed
    store = [f"new{i}[i] = {value};", f"u32 size{i} = {bits};"]
    store.append(f"top{i} = size{i} > top{i} ? size{i} : top{i};")
    declare = [f"float new{i}[{BLOCK}]; u32 top{i} = 0;"]
    largest = f"const float most{i} = f_of(top{i})"
    unit = f"{largest}, per{i} = most{i} < 0x1p-110f ? 0 : {stored.largest!r}f / most{i};"
    half = f"{1 << (shift - 1)}u"
    dither = random_bits_expression(noise_stream(i), shift) if stored.random else half
    size = f"fabsf(new{i}[i])" if stored.signed else f"new{i}[i]"
    code = f"(b_of({size} * per{i} + 1) + {dither} - (127u << 23)) >> {shift}"
    if stored.signed:
        code = f"((int)({code}) ^ (int)b_of(new{i}[i]) >> 31) - ((int)b_of(new{i}[i]) >> 31)"
    else:
        code = f"({code}) + (({code}) == 0 & new{i}[i] > 0)"
    finish = [f"{unit} *scale{place} = most{i};"]
    return StoreCode(store, declare, finish, [f"p{place}[i] = {code};"])


def seed_lines(formats: tuple[Format, ...]) -> list[str]:
    """The lines that hash the start of the random bits, one for every two streams."""
    streams = [
        noise_stream(i)
        for i, stored in enumerate(formats)
        if getattr(stored, "random", isinstance(stored, StochasticBFloat16))
    ]
    pairs = sorted({stream // 2 for stream in streams})
    start = "hash((u32)at * 2654435769u + (seed + {0}) * 0x85EBCA6Bu)"
    return [f"const u32 start{pair} = {start.format(pair + 1)};" for pair in pairs]


def random_bits_expression(stream: int, bits: int) -> str:
    """Random bits for element i of the tensor."""
    h = f"(start{stream // 2} + lattice[i])"
    return f"({h} & {(1 << bits) - 1})" if stream % 2 else f"({h} >> {32 - bits})"
