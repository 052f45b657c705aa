"""How a state's tensors are kept: as they are, in bfloat16 rounded at random, or in 8 bits by
blocks of 256.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from betaplane.errors import BadInput

BLOCK = 256  # numbers that share a scale
NARROW = 32  # numbers in a row from which blocks start anew with every row
SMALL = 4096  # parameters of fewer numbers keep their state in float32, whatever is asked for
SCALE = "_scale"  # what a state's scales are called, after its own name
TINY = 2.0**-110  # a block whose largest number is below it is zero


# of 2^32 as of 2^16 the golden ratio: both ends of i LATTICE are spread evenly over the i
LATTICE = 0x9E349E37


def noise(shape: torch.Size, seed: int, stream: int = 0, start: int = 0, bits: int = 16) -> Tensor:
    """Random bits for each number of a tensor, from its place, seed and stream alone: the same on
    every path.

    Each block of 256 has a random start, hashed; from there on they go round by the golden ratio. So every place's bits
    are uniform and those of other blocks and steps independent, and neighbours round to different sides.

    Args:
        shape: the tensor's.
        seed: the step.
        stream: which of the tensors rounded in this step; two streams share 32 bits, one has the high, one the low.
        start: the place of the first number, where the tensor is a part of one: whole rows, or blocks of a row.
        bits: how many, in 16 .. 20; above 16 the two streams share the last ones.

    Returns:
        int32, like the tensor, in [0, 2^bits).

    Example:
        >>> noise(torch.Size([4]), seed=1).tolist()
        [13148, 53648, 28613, 3578]
    """
    place = torch.arange(math.prod(shape), dtype=torch.int64)
    i = place % (row(shape) or 1) % BLOCK
    h = _low(_low((start + place - i) * 2654435769) + _low((seed + stream // 2 + 1) * 0x85EBCA6B))
    h = _low((h ^ (h >> 16)) * 0x7FEB352D)
    h = _low((h ^ (h >> 15)) * 0x846CA68B)
    h = _low((h ^ (h >> 16)) + i * LATTICE)
    return ((h if stream % 2 else h >> (32 - bits)) & ((1 << bits) - 1)).int().view(shape)


def _low(h: Any) -> Any:
    return h & 0xFFFFFFFF


def stream_of(place: int) -> int:
    """The stream that rounds x (place 0) or the tensor of the state at place - 1: moments come in
    pairs.
    """
    return place - 1 if place else 15


def round_randomly(x: Tensor, r: Tensor) -> Tensor:
    """A float32 tensor in bfloat16, up or down with a probability that makes the mean exact.

    Args:
        x: float32.
        r: like x, int32 in [0, 65536), uniform.

    Example:
        >>> x = torch.full((65536,), 1 + 2**-9)
        >>> round_randomly(x, torch.arange(65536, dtype=torch.int32)).float().mean().item()
        1.001953125
    """
    bits = (x.contiguous().view(torch.int32) + r) & -65536
    rounded = bits.view(torch.float32).to(torch.bfloat16)
    # whose bits may be all ones, to which nothing can be added
    return rounded.masked_fill_(x.isnan(), torch.nan)


Kept = tuple[Tensor, Tensor | None]  # numbers like the tensor, and scales


@dataclass(frozen=True)
class Format:
    """One way to keep a tensor of a state; `dtype` None keeps the type the rule gave it."""

    dtype: torch.dtype | None = None
    scaled = False  # whether there are scales beside the numbers

    def encode(self, value: Tensor, stream: int = 0, seed: int = 0, start: int = 0) -> Kept:
        """What is kept of a tensor: numbers like it, and scales; `start` is its place, if it is a
        part of one.
        """
        return value.to(self.dtype or value.dtype), None

    def decode(self, kept: Tensor, scale: Tensor | None) -> Tensor:
        """The tensor that was kept."""
        return kept


@dataclass(frozen=True)
class Rounded(Format):
    """bfloat16, rounded at random: a running average moves on the mean, where rounding to nearest
    would hold it.
    """

    dtype: torch.dtype | None = field(default=torch.bfloat16, init=False)

    def encode(self, value: Tensor, stream: int = 0, seed: int = 0, start: int = 0) -> Kept:
        """The numbers in bfloat16."""
        return round_randomly(value.float(), noise(value.shape, seed, stream, start)), None


@dataclass(frozen=True)
class Companded(Format):
    """8 bits: a number over its block's largest is kept as the exponent and the first digits of 1 +
    a multiple of it.

    ```
    unsigned: c in 0 .. 255,     value = (2^(c div 16) (1 + (c mod 16) / 16) - 1) / 63487
    signed:   c in -127 .. 127,  value = sign(c) (2^(|c| div 8) (1 + (|c| mod 8) / 8) - 1) / 61439
    ```

    Linear near 0 and logarithmic above it, as the mu-law of telephones: the steps are at most 1/16 (signed 1/8) of the
    number, down to a millionth of the largest. Both directions are a few operations on the bits of a float. Rounding
    is at random, with the right mean: a step of beta2 = 0.999 is far below half a step of the code, and rounded to
    the nearest the average would stay where it is. What is unsigned and not 0 is at least the smallest step: a v that
    is rounded to 0 under an m that is not would leave an update of m / eps (B. Li et al. 2023, arXiv:2309.01507).
    """

    signed: bool = True
    random: bool = True
    dtype: torch.dtype | None = field(default=torch.uint8, init=False)
    scaled = True

    @property
    def digits(self) -> int:
        """Bits of the mantissa."""
        return 3 if self.signed else 4

    @property
    def cut(self) -> int:
        """Bits of float32's mantissa that are cut off."""
        return 23 - self.digits

    @property
    def top(self) -> float:
        """What the largest number of a block is multiplied by."""
        return 2.0**15 * (2 - 2.0**-self.digits) - 1

    def encode(self, value: Tensor, stream: int = 0, seed: int = 0, start: int = 0) -> Kept:
        """Codes like value, and a scale per block."""
        rows, scale = _blocks(value.float())
        w = rows.abs() * (self.top * _inverse(scale))[..., None] + 1
        code = (
            w.view(torch.int32) + self._dither(value, stream, seed, start) - (127 << 23)
        ) >> self.cut
        code = (
            torch.where(rows < 0, -code, code) & 255
            if self.signed
            else torch.maximum(code, (rows > 0).int())
        )
        return _joined(code.to(torch.uint8), value.shape), scale

    def _dither(self, value: Tensor, stream: int, seed: int, start: int) -> Tensor | int:
        """What is added before the last bits are cut off: half a step, or a random part of one."""
        if not self.random:
            return 1 << (self.cut - 1)
        return _split(noise(value.shape, seed, stream, start, self.cut))[0]

    def decode(self, kept: Tensor, scale: Tensor | None) -> Tensor:
        """The numbers in float32."""
        rows, _ = _split(kept)
        code = rows.view(torch.int8).int() if self.signed else rows.int()
        bits = (code.abs() << self.cut) + (127 << 23)
        value = (bits.view(torch.float32) - 1) * (scale * (1 / self.top))[..., None]  # type: ignore[operator]
        return _joined(torch.where(code < 0, -value, value), kept.shape)


@dataclass(frozen=True)
class Dynamic(Format):
    """8 bits: the nearest of 256 numbers, whose steps shrink by decades (Dettmers et al. 2022,
    arXiv:2110.02861).

    The map of bitsandbytes, for states that are to be like its; looked up, so slower than the companded code.
    """

    signed: bool = True
    dtype: torch.dtype | None = field(default=torch.uint8, init=False)
    scaled = True

    def encode(self, value: Tensor, stream: int = 0, seed: int = 0, start: int = 0) -> Kept:
        """Codes like value, and a scale per block."""
        rows, scale = _blocks(value)
        known = dynamic_map(self.signed).to(value.dtype)
        between = (known[1:] + known[:-1]) / 2
        code = torch.bucketize(rows * _inverse(scale)[..., None], between)
        return _joined(code.to(torch.uint8), value.shape), scale

    def decode(self, kept: Tensor, scale: Tensor | None) -> Tensor:
        """The numbers in the scale's type."""
        rows, _ = _split(kept)
        table = dynamic_map(self.signed).to(scale)  # type: ignore[arg-type]
        return _joined(table[rows.int()] * scale[..., None], kept.shape)  # type: ignore[index]


@cache
def dynamic_map(signed: bool) -> Tensor:
    """The 256 numbers of the dynamic map, ascending, float64.

    For i = 0 .. 6, [0.1, 1] is cut into 2^i (signed) or 2^(i + 1) equal cells; their midpoints times 10^(i - 6), with
    both signs where signed, and 0 and 1.

    Source: T. Dettmers et al. 2022, arXiv:2110.02861, section 2.2 and its code.

    Example:
        >>> dynamic_map(signed=True)[[0, -1]].tolist(), len(dynamic_map(signed=False))
        ([-0.99296875, 1.0], 256)
    """
    found = [0.0, 1.0]
    for i in range(7):
        edges = torch.linspace(0.1, 1, 2 ** (i + (not signed)) + 1, dtype=torch.float64)
        middles = ((edges[1:] + edges[:-1]) / 2 * 10.0 ** (i - 6)).tolist()
        found += middles + ([-value for value in middles] if signed else [])
    return torch.tensor(sorted(found), dtype=torch.float64)


def row(shape: torch.Size) -> int:
    """How many numbers lie between two places where blocks start anew.

    Along the first dimension, where a row is NARROW or wider: then a tensor that is sharded by rows has the scales of
    its rows, and can be joined and sharded anew. Narrower tensors are one row.

    Example:
        >>> row(torch.Size([10, 300])), row(torch.Size([1000, 8])), row(torch.Size([50_000]))
        (300, 8000, 50000)
    """
    wide = math.prod(shape[1:])
    return wide if len(shape) > 1 and wide >= NARROW else math.prod(shape)


def scale_shape(shape: torch.Size) -> torch.Size:
    """The shape of the scales of a tensor in 8 bits: one per block of each row.

    Example:
        >>> scale_shape(torch.Size([10, 300])), scale_shape(torch.Size([1000, 8]))
        (torch.Size([10, 2]), torch.Size([1, 32]))
    """
    length = row(shape)
    return torch.Size([math.prod(shape) // length if length else 0, -(-length // BLOCK)])


def _split(value: Tensor) -> tuple[Tensor, int]:
    """In rows and blocks, filled up with zeros: (rows, blocks, BLOCK), and the length of a row."""
    length = row(value.shape)
    rows = value.reshape(-1, length)
    if gap := -length % BLOCK:
        rows = torch.nn.functional.pad(rows, (0, gap))
    return rows.reshape(len(rows), -1, BLOCK), length


def _blocks(value: Tensor) -> tuple[Tensor, Tensor]:
    rows, _ = _split(value)
    return rows, rows.abs().amax(dim=-1)


def _joined(rows: Tensor, shape: torch.Size) -> Tensor:
    return rows.reshape(len(rows), -1)[:, : row(shape)].reshape(shape)


def _inverse(scale: Tensor) -> Tensor:
    return torch.where(scale < TINY, 0, 1 / scale)


STORAGES = ("parameter", "float32", "bfloat16", "8bit", "dynamic 8bit")


def check_storage(value: str) -> str:
    """`value`, if it is one of STORAGES."""
    if value not in STORAGES:
        allowed = " or ".join(map(repr, STORAGES))
        raise BadInput(
            "storage is unknown",
            value=value,
            allowed=allowed,
            where="the optimizer",
            instead='storage="8bit"',
        )
    return value


def format_of(storage: str, numel: int, nonnegative: bool) -> Format:
    """The format of a state's tensor.

    Args:
        storage: one of STORAGES; "parameter" is torch's way, the parameter's type.
        numel: the parameter's numbers, of all its shards.
        nonnegative: whether the tensor holds no negative numbers.
    """
    if storage == "parameter":
        return Format()
    if storage == "float32" or (numel < SMALL and storage != "bfloat16"):
        return Format(torch.float32)
    if storage == "bfloat16":
        return Rounded()
    return (Companded if storage == "8bit" else Dynamic)(signed=not nonnegative)
