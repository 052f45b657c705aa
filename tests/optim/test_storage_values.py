"""Storage formats by their published formulas, number by number, and states that change format when
they are loaded.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import betaplane
from betaplane.errors import BadInput
from betaplane.optim.blocks import row_length
from betaplane.optim.option_ranges import check_group_options
from betaplane.optim.stochastic_rounding import noise_stream, random_bits, round_stochastically
from betaplane.optim.storage_formats import (
    STORAGES,
    Companded,
    Dynamic,
    Format,
    StochasticBFloat16,
    dynamic_map,
    storage_format,
)

GOLDEN_RATIO = 0x9E349E37


def unsigned(c: int) -> float:
    return (2 ** (c // 16) * (1 + (c % 16) / 16) - 1) / 63487


def signed(c: int) -> float:
    c = c - 256 if c > 127 else c
    size = (2 ** (abs(c) // 8) * (1 + (abs(c) % 8) / 8) - 1) / 61439
    return -size if c < 0 else size


@pytest.mark.parametrize(("is_signed", "value_of"), [(True, signed), (False, unsigned)])
def test_every_8_bit_code_decodes_to_its_formula(is_signed, value_of):
    codes = torch.arange(256, dtype=torch.uint8)
    scale = torch.tensor([[3.0]])
    known = [3 * value_of(c) for c in range(256)]
    if is_signed:
        codes, known = codes[codes != 128], [value for c, value in enumerate(known) if c != 128]
    assert Companded(is_signed).decode(codes, scale).tolist() == pytest.approx(
        known, rel=1e-6, abs=1e-12
    )


@pytest.mark.parametrize("is_signed", [True, False])
def test_codes_are_their_own_nearest_codes(is_signed):
    """What a code stands for is encoded as that code, with the block's largest as the scale."""
    kept = Companded(is_signed, random=False)
    codes = torch.tensor([c for c in range(256) if not is_signed or c != 128], dtype=torch.uint8)
    value = kept.decode(codes, torch.tensor([[7.0]]))
    again, scale = kept.encode(value)
    assert again.tolist() == codes.tolist()
    assert scale.item() == pytest.approx(7.0, rel=1e-6)


def test_the_mean_of_random_codes_lies_between_its_neighbors():
    """A value a quarter of the way between two codes takes the upper one in a quarter of all steps."""
    value = torch.full((256,), (3 * signed(60) + signed(61)) / 4)
    value[0] = 1.0
    codes = torch.stack([Companded().encode(value, 0, seed)[0][1:] for seed in range(200)]).int()
    assert set(codes.unique().tolist()) == {60, 61}
    assert (codes == 61).float().mean() == pytest.approx(0.25, abs=0.005)


def test_what_is_unsigned_and_not_zero_keeps_the_smallest_step():
    value = torch.tensor([0.0, 1e-9, 1e-7, 1.0])
    codes, _ = Companded(signed=False, random=False).encode(value)
    assert codes.tolist() == [0, 1, 1, 255]


@pytest.mark.parametrize(("largest", "zero"), [(2.0**-111, True), (2.0**-110, False)])
def test_a_block_below_two_to_the_minus_110_is_zero(largest, zero):
    codes, _ = Companded(random=False).encode(torch.full((4,), largest))
    assert (codes == 0).all() == zero
    codes, _ = Dynamic().encode(torch.full((4,), largest))
    assert (codes == 127).all() == zero


def test_the_dynamic_code_is_the_nearest_of_its_map():
    known = dynamic_map(True)
    x = torch.linspace(-1, 1, 256, dtype=torch.float64)
    codes, scale = Dynamic().encode(2 * x)
    assert scale.tolist() == [[2.0]]
    assert codes.tolist() == (x[:, None] - known).abs().argmin(1).tolist()
    assert Dynamic().decode(codes, scale).tolist() == pytest.approx(
        (2 * known[codes.int()]).tolist()
    )
    assert known[0] == -0.99296875
    assert (known[127], known[128]) == (0.0, 5.5e-7)
    assert dynamic_map(False)[:3].tolist() == pytest.approx([0.0, 3.25e-7, 7.75e-7])
    assert dynamic_map(False)[-1] == 1.0


def reference_noise(
    shape: tuple[int, ...], seed: int, stream: int, start: int, bits: int
) -> list[int]:
    """The hash in Python's whole numbers, for one place after another."""
    length, found = row_length(torch.Size(shape)), []
    for place in range(torch.Size(shape).numel()):
        i = place % length % 256
        h = ((start + place - i) * 2654435769 + (seed + stream // 2 + 1) * 0x85EBCA6B) % 2**32
        h = (h ^ h >> 16) * 0x7FEB352D % 2**32
        h = (h ^ h >> 15) * 0x846CA68B % 2**32
        h = ((h ^ h >> 16) + i * GOLDEN_RATIO) % 2**32
        found.append((h if stream % 2 else h >> (32 - bits)) % 2**bits)
    return found


@pytest.mark.parametrize("shape", [(600,), (3, 300), (40, 8)])
@pytest.mark.parametrize(
    ("seed", "stream", "start", "bits"),
    [(1, 0, 0, 16), (7, 1, 512, 20), (3, 15, 300, 19), (2, 2, 0, 17)],
)
def test_noise_is_the_hash_of_its_place(shape, seed, stream, start, bits):
    found = random_bits(torch.Size(shape), seed, stream, start, bits)
    assert found.flatten().tolist() == reference_noise(shape, seed, stream, start, bits)
    assert found.shape == shape


def test_moments_are_rounded_in_pairs_of_streams():
    assert [noise_stream(place) for place in range(4)] == [15, 0, 1, 2]


def test_rounding_adds_below_the_sixteenth_bit():
    x = torch.tensor([1 + 2.0**-8, 1 + 2.0**-8])
    r = torch.tensor([32767, 32768], dtype=torch.int32)
    assert round_stochastically(x, r).tolist() == [1.0, 1 + 2.0**-7]
    value, scale = StochasticBFloat16().encode(x, 0, 1)
    assert value.dtype == torch.bfloat16
    assert scale is None


def test_rows_of_32_numbers_have_blocks_of_their_own():
    shapes = {
        (5, 31): 155,
        (5, 32): 32,
        (5, 33): 33,
        (500,): 500,
        (2, 4, 8): 32,
        (2, 3, 8): 48,
        (0, 5): 0,
    }
    assert {shape: row_length(torch.Size(shape)) for shape in shapes} == shapes
    for shape, scales in {
        (5, 31): (1, 1),
        (5, 32): (5, 1),
        (3, 257): (3, 2),
        (512,): (1, 2),
        (513,): (1, 3),
    }.items():
        value = torch.arange(1.0, 1 + torch.Size(shape).numel()).view(shape)
        codes, scale = Companded().encode(value)
        assert scale.shape == scales
        assert codes.shape == shape
        assert scale.max() == value.max()
        assert torch.allclose(Companded().decode(codes, scale), value, rtol=0.13)


def test_the_format_of_a_tensor():
    big, small = 4096, 4095
    assert storage_format("parameter", big, True) == Format()
    assert storage_format("float32", big, True) == Format(torch.float32)
    assert (
        storage_format("8bit", small, True)
        == storage_format("dynamic 8bit", small, False)
        == Format(torch.float32)
    )
    assert storage_format("bfloat16", 1, False) == StochasticBFloat16()
    assert storage_format("8bit", big, True) == Companded(signed=False)
    assert storage_format("8bit", big, False) == Companded(signed=True)
    assert storage_format("dynamic 8bit", big, True) == Dynamic(signed=False)
    assert storage_format("dynamic 8bit", big, False) == Dynamic(signed=True)
    assert Companded().random
    assert not Format().scaled
    for name in STORAGES:
        check_group_options({"storage": name, "params": []})
    with pytest.raises(BadInput, match="Unknown storage '4bit'"):
        check_group_options({"storage": "4bit", "params": []})


# Loading


def trained(storage: str, seed: int = 0, steps: int = 3) -> tuple[Tensor, betaplane.AdamW]:
    p = nn.Parameter(torch.zeros(16, 300))
    optimizer = betaplane.AdamW([p], storage=storage)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        p.grad = torch.randn(16, 300, generator=generator)
        optimizer.step()
    return p, optimizer


def decoded(held: dict, word: str, value_of) -> Tensor:
    """A state of 8 bits by the published formula, row by row of 300 = 256 + 44 numbers."""
    known = torch.tensor([value_of(c) for c in range(256)], dtype=torch.float64)
    scale = held[word + "_scale"].double().repeat_interleave(256, dim=1)[:, :300]
    return known[held[word].int()] * scale


def test_8_bits_load_into_float32_as_what_they_stand_for():
    p, source = trained("8bit")
    held = copy.deepcopy(source.state[p])
    q = nn.Parameter(torch.zeros(16, 300))
    target = betaplane.AdamW([q], storage="float32")
    target.load_state_dict(source.state_dict())
    for word, value_of in (("exp_avg", signed), ("exp_avg_sq", unsigned)):
        loaded = target.state[q][word]
        assert loaded.dtype == torch.float32
        torch.testing.assert_close(
            loaded.double(), decoded(held, word, value_of), rtol=1e-6, atol=1e-12
        )
        assert word + "_scale" not in target.state[q]
    assert target.state[q]["step"] == 3


def test_float32_loads_into_8_bits_with_the_largest_of_each_block_as_its_scale():
    p, source = trained("float32")
    q = nn.Parameter(torch.zeros(16, 300))
    target = betaplane.AdamW([q], storage="8bit")
    target.load_state_dict(source.state_dict())
    for word, value_of in (("exp_avg", signed), ("exp_avg_sq", unsigned)):
        value, held = source.state[p][word], target.state[q]
        largest = torch.stack([value[:, :256].abs().amax(1), value[:, 256:].abs().amax(1)], dim=1)
        assert torch.equal(held[word + "_scale"], largest)
        step = 0.125 * value.abs() + 2e-6 * value.abs().max()
        assert ((decoded(held, word, value_of) - value).abs() <= step).all()


@pytest.mark.parametrize("storage", ["parameter", "float32", "bfloat16", "8bit", "dynamic 8bit"])
def test_a_format_loads_into_itself_bit_by_bit(storage):
    p, source = trained(storage)
    q = nn.Parameter(torch.zeros(16, 300))
    target = betaplane.AdamW([q], storage=storage)
    target.load_state_dict(source.state_dict())
    assert target.state[q].keys() == source.state[p].keys()
    for word, value in source.state[p].items():
        assert target.state[q][word].dtype == value.dtype
        assert torch.equal(target.state[q][word], value)


def test_bfloat16_loads_into_the_parameters_type():
    p, source = trained("bfloat16")
    q = nn.Parameter(torch.zeros(16, 300))
    target = betaplane.AdamW([q])
    target.load_state_dict(source.state_dict())
    assert target.state[q]["exp_avg"].dtype == torch.float32
    assert torch.equal(target.state[q]["exp_avg"], source.state[p]["exp_avg"].float())


def test_zeros_are_decoded_without_a_sign():
    for stored in (Companded(random=False), Companded(signed=False, random=False), Dynamic()):
        codes, scale = stored.encode(torch.tensor([0.0, -0.0, 1.0]))
        value = stored.decode(codes, scale)
        assert not value.signbit().any()
        assert value[:2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("stored", [StochasticBFloat16(), Companded()], ids=["bfloat16", "8bit"])
def test_noise_is_that_of_the_first_step_tensor_and_place_by_default(stored):
    value = torch.randn(600, generator=torch.Generator().manual_seed(0))
    usual = stored.encode(value)[0]
    assert torch.equal(usual, stored.encode(value, 0, 0, 0)[0])
    for stream, seed, start in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        assert not torch.equal(usual, stored.encode(value, stream, seed, start)[0])
