"""Storage formats of a state's tensors: a dtype, bfloat16 with stochastic rounding, or 8 bits in
blocks of 256.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

from betaplane.optim.blocks import block_scales, inverse_scales, join_blocks, split_blocks
from betaplane.optim.stochastic_rounding import random_bits, round_stochastically

MIN_8BIT_ELEMENTS = 4096  # smaller parameters keep their state in float32 instead of 8 bits
SCALE = "_scale"  # suffix of the state key under which a tensor's scales are stored


Encoded = tuple[Tensor, Tensor | None]  # a tensor of the same shape, and scales


@dataclass(frozen=True)
class Format:
    """A format that stores a tensor of a state in a dtype; `dtype` None is the dtype that the rule
    gave it.
    """

    dtype: torch.dtype | None = None
    scaled = False  # whether scales are stored as well

    def encode(self, value: Tensor, stream: int = 0, seed: int = 0, start: int = 0) -> Encoded:
        """Encode a tensor, for storage.

        Args:
            value: the tensor.
            stream: of random bits, see `random_bits`.
            seed: of random bits, the step.
            start: index of the first element if the tensor is a chunk of a larger one.

        Returns:
            A tensor of the same shape, and the scales or None.
        """
        return value.to(self.dtype or value.dtype), None

    def decode(self, stored: Tensor, scale: Tensor | None) -> Tensor:
        """Decode a stored tensor."""
        return stored


@dataclass(frozen=True)
class StochasticBFloat16(Format):
    """bfloat16 with stochastic rounding.

    An exponential moving average then moves as it should on average; rounding to nearest would stop it.
    """

    dtype: torch.dtype | None = field(default=torch.bfloat16, init=False)

    def encode(self, value: Tensor, stream: int = 0, seed: int = 0, start: int = 0) -> Encoded:
        """Round a tensor to bfloat16."""
        bits = random_bits(value.shape, seed, stream, start)
        return round_stochastically(value.float(), bits), None


@dataclass(frozen=True)
class Companded(Format):
    """8 bits per element: exponent and first digits of 1 + a multiple of (element / largest in its
    block).

    ```
    unsigned: c in 0 .. 255,     value = (2^(c div 16) (1 + (c mod 16) / 16) - 1) / 63487
    signed:   c in -127 .. 127,  value = sign(c) (2^(|c| div 8) (1 + (|c| mod 8) / 8) - 1) / 61439
    ```

    The code is linear near 0 and logarithmic above, as the mu-law of telephones: steps are at most 1/16 (signed 1/8) of
    the element, down to a millionth of the largest. Both directions are a few operations on the bits of a float.

    Rounding is stochastic, and right on average: an update of a moment with beta2 = 0.999 is far below half a step of
    the code, so rounding to nearest would stop the moment. An unsigned element that is not 0 is at least the smallest
    step: if v were rounded to 0 but m not, the update would be m / eps (B. Li et al. 2023, arXiv:2309.01507).
    """

    signed: bool = True
    random: bool = True
    dtype: torch.dtype | None = field(default=torch.uint8, init=False)
    scaled = True

    @property
    def mantissa_bits(self) -> int:
        """Bits of the mantissa."""
        return 3 if self.signed else 4

    @property
    def dropped_bits(self) -> int:
        """Bits of float32's mantissa that are dropped."""
        return 23 - self.mantissa_bits

    @property
    def largest(self) -> float:
        """The value to which the largest magnitude of a block is scaled."""
        return 2.0**15 * (2 - 2.0**-self.mantissa_bits) - 1

    def encode(self, value: Tensor, stream: int = 0, seed: int = 0, start: int = 0) -> Encoded:
        """Encode a tensor as codes like it, and one scale per block."""
        blocks = split_blocks(value.float())
        scales = block_scales(blocks)
        w = blocks.abs() * (self.largest * inverse_scales(scales))[..., None] + 1
        dither = self._dither(value, stream, seed, start)
        code = (w.view(torch.int32) + dither - (127 << 23)) >> self.dropped_bits
        code = self._sign_or_keep_positive(code, blocks)
        return join_blocks(code.to(torch.uint8), value.shape), scales

    def _sign_or_keep_positive(self, code: Tensor, blocks: Tensor) -> Tensor:
        """The code with its sign; or at least 1 for a positive element."""
        if self.signed:
            return torch.where(blocks < 0, -code, code) & 255
        return torch.maximum(code, (blocks > 0).int())

    def _dither(self, value: Tensor, stream: int, seed: int, start: int) -> Tensor | int:
        """The bits added before the last ones are dropped: half a step, or a random part of one."""
        if not self.random:
            return 1 << (self.dropped_bits - 1)
        return split_blocks(random_bits(value.shape, seed, stream, start, self.dropped_bits))

    def decode(self, stored: Tensor, scale: Tensor | None) -> Tensor:
        """Decode codes to float32."""
        blocks = split_blocks(stored)
        code = blocks.view(torch.int8).int() if self.signed else blocks.int()
        bits = (code.abs() << self.dropped_bits) + (127 << 23)
        unit = (scale * (1 / self.largest))[..., None]  # type: ignore[operator]
        value = (bits.view(torch.float32) - 1) * unit
        return join_blocks(torch.where(code < 0, -value, value), stored.shape)


@dataclass(frozen=True)
class Dynamic(Format):
    """8 bits per element: the nearest of 256 values, whose steps shrink by decades (Dettmers et al.
    2022).

    The map of bitsandbytes (arXiv:2110.02861), for states that must match its own. Values are looked up in a table, so
    it is slower than the companded code.
    """

    signed: bool = True
    dtype: torch.dtype | None = field(default=torch.uint8, init=False)
    scaled = True

    def encode(self, value: Tensor, stream: int = 0, seed: int = 0, start: int = 0) -> Encoded:
        """Encode a tensor as codes like it, and one scale per block."""
        blocks = split_blocks(value)
        scales = block_scales(blocks)
        table = dynamic_map(self.signed).to(value.dtype)
        boundaries = (table[1:] + table[:-1]) / 2
        code = torch.bucketize(blocks * inverse_scales(scales)[..., None], boundaries)
        return join_blocks(code.to(torch.uint8), value.shape), scales

    def decode(self, stored: Tensor, scale: Tensor | None) -> Tensor:
        """Decode codes to the dtype of the scales."""
        table = dynamic_map(self.signed).to(scale)  # type: ignore[arg-type]
        value = table[split_blocks(stored).int()] * scale[..., None]  # type: ignore[index]
        return join_blocks(value, stored.shape)


@cache
def dynamic_map(signed: bool) -> Tensor:
    """The 256 values of the dynamic map, ascending, float64.

    For i = 0 .. 6, [0.1, 1] is cut into 2^i (signed) or 2^(i + 1) equal cells; the values are their midpoints times
    10^(i - 6), with both signs if signed, and 0 and 1.

    Source: T. Dettmers et al. 2022, arXiv:2110.02861, section 2.2 and its code.

    Example:
        >>> dynamic_map(signed=True)[[0, -1]].tolist(), len(dynamic_map(signed=False))
        ([-0.99296875, 1.0], 256)
    """
    values = [0.0, 1.0]
    for i in range(7):
        edges = torch.linspace(0.1, 1, 2 ** (i + (not signed)) + 1, dtype=torch.float64)
        midpoints = ((edges[1:] + edges[:-1]) / 2 * 10.0 ** (i - 6)).tolist()
        values += midpoints
        if signed:
            values += [-value for value in midpoints]
    return torch.tensor(sorted(values), dtype=torch.float64)


EIGHT_BIT = ("8bit", "dynamic 8bit")
STORAGES = ("parameter", "float32", "bfloat16", *EIGHT_BIT)


def storage_format(storage: str, numel: int, nonnegative: bool) -> Format:
    """The format of a state's tensor.

    Args:
        storage: one of STORAGES; "parameter" is torch's way, the parameter's dtype.
        numel: the number of elements of the parameter, over all shards.
        nonnegative: whether the tensor has no negative elements.
    """
    if storage == "parameter":
        return Format()
    if storage == "float32" or (numel < MIN_8BIT_ELEMENTS and storage != "bfloat16"):
        return Format(torch.float32)
    if storage == "bfloat16":
        return StochasticBFloat16()
    return (Companded if storage == "8bit" else Dynamic)(signed=not nonnegative)
