"""Small states and small weights: the formats by themselves, and every rule in every format on
every path.
"""

from __future__ import annotations

import copy
import io
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import betaplane.optim
from betaplane.errors import BadInput
from betaplane.optim import blocks, optimizer_class, storage_formats
from betaplane.optim.step import chunks
from betaplane.optim.step.step_spec import StepSpec, add_compensated
from betaplane.optim.step.stored_state import state_layout
from betaplane.optim.stochastic_rounding import random_bits, round_stochastically
from betaplane.optim.storage_formats import (
    EIGHT_BIT,
    SCALE,
    STORAGES,
    Companded,
    Dynamic,
    dynamic_map,
)
from betaplane.rules import ALL, AdamW, Lion, NAdam, Rule

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
# blocks start again with every row of the first; the second is one row
WIDE, TALL = (20, 300), (300, 20)
every = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def golden(name: str) -> dict:
    return json.loads((GOLDEN / f"{name}.json").read_text())


# The formats --------------------------------------------------------------------------------------
# ------------------


def test_the_dynamic_map() -> None:
    record = golden("adam8bit")
    for signed, word in ((True, "map_signed"), (False, "map_unsigned")):
        known = torch.tensor(record[word], dtype=torch.float64)
        assert torch.allclose(dynamic_map(signed), known, rtol=0, atol=1e-15)


def test_dynamic_8_bits_of_adam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 4)
    monkeypatch.setattr(storage_formats, "MIN_8BIT_ELEMENTS", 0)
    state_layout.cache_clear()
    record = golden("adam8bit")
    p = nn.Parameter(torch.tensor(record["params0"], dtype=torch.float64))
    optimizer = optimizer_class(betaplane.optim.Adam.rule)([p], lr=0.001, storage="dynamic 8bit")
    for step in record["steps"]:
        p.grad = torch.tensor(step["grad"], dtype=torch.float64)
        optimizer.step()
        state = optimizer.state[p]
        assert torch.allclose(
            p, torch.tensor(step["params"], dtype=torch.float64), rtol=1e-12, atol=1e-15
        )
        assert state["exp_avg"].tolist() == step["codes_m"]
        assert state["exp_avg_sq"].tolist() == step["codes_v"]
        assert state["exp_avg" + SCALE].flatten().tolist() == pytest.approx(
            step["absmax_m"], rel=1e-12
        )


def test_bfloat16_to_nearest_and_at_random() -> None:
    record = golden("low_precision")
    for row in record["rne"]:
        assert torch.tensor(row["x"]).bfloat16().item() == row["bf16"]
    for row in record["stochastic"]:
        x, r = torch.tensor([row["x"]]), torch.tensor([row["r16"]], dtype=torch.int32)
        assert round_stochastically(x, r).item() == row["bf16"]


def test_kahan() -> None:
    x, lost = torch.tensor(1.0), torch.tensor(0.0)
    for row in golden("low_precision")["kahan"]:
        x, lost = add_compensated(x, torch.tensor(row["update"]), lost)
        assert x.item() == row["kahan_param"]
        assert lost.item() == row["kahan_comp"]


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_companded_error(signed: bool, size: float) -> None:
    """A step is 1/8 of the number (1/16 unsigned) and, near 0, a millionth of the largest; the
    largest is exact.
    """
    x = size * torch.cat(
        [numbers(500), 10.0 ** (-6 * torch.rand(500, generator=torch.Generator().manual_seed(1)))]
    )
    x = x if signed else x.abs()
    kept = Companded(signed, random=False)
    codes, scale = kept.encode(x, 0, 0)
    back = kept.decode(codes, scale)
    largest = torch.cat([part.abs().max().expand(len(part)) for part in x.split(256)])
    share = 1 / 16 if signed else 1 / 32  # half a step
    assert ((back - x).abs() <= share * x.abs() + 1.1e-6 * largest).all()
    assert all(
        torch.isclose(b.abs().max(), a.abs().max())
        for a, b in zip(x.split(256), back.split(256), strict=True)
    )
    assert codes.dtype == torch.uint8
    assert codes.shape == x.shape


@pytest.mark.parametrize(
    "kept", [Companded(True), Companded(False), Dynamic(True), Dynamic(False)], ids=repr
)
def test_zeros_and_tiny_blocks_stay_zero(kept: Companded | Dynamic) -> None:
    x = torch.cat([torch.zeros(256), torch.full((256,), 1e-40), torch.ones(3)])
    codes, scale = kept.encode(x, 0, 3)
    assert kept.decode(codes, scale)[:512].abs().max() <= 1e-40
    assert kept.decode(codes, scale)[512:].tolist() == [1, 1, 1]


@pytest.mark.parametrize("signed", [True, False])
def test_random_rounding_has_the_right_mean(signed: bool) -> None:
    x = numbers(256) if signed else numbers(256).square()
    kept, steps = Companded(signed), 2000
    # above the smallest step, which is the least that is kept
    x = x if signed else x.where(x > 1.1e-6 * x.max(), 0.0)
    mean = sum(kept.decode(*kept.encode(x, 0, seed)) for seed in range(steps)) / steps
    one_step = (1 / 8 if signed else 1 / 16) * x.abs() + 2e-6 * x.abs().max()
    # five standard errors, at most half a step each
    assert ((mean - x).abs() < 5 * 0.5 * one_step / steps**0.5).all()
    what = torch.tensor([1 + 2.0**-10, -3.0 - 2.0**-9]).repeat(512)
    mean = (
        sum(
            round_stochastically(what, random_bits(what.shape, seed)).float() for seed in range(500)
        )
        / 500
    )
    assert torch.allclose(mean, what, rtol=1e-3)
    assert not torch.equal(what, what.bfloat16().float())


def test_no_second_moment_is_rounded_to_zero() -> None:
    x = 10.0 ** torch.linspace(-12, 0, 256)
    for seed in range(50):
        back = Companded(signed=False).decode(*Companded(signed=False).encode(x, 0, seed))
        assert (back > 0).all()
        assert (back[x < 1e-8] < 1.1e-6).all()


@pytest.mark.parametrize("how", ["eager", "compiled"])
def test_small_gradients_beside_large_ones_make_no_large_updates(how: str) -> None:
    """Every fourth column has gradients 1e-4 of the others', in the same blocks."""
    p = nn.Parameter(torch.zeros(64, 128))
    optimizer = optimizer_class(AdamW)([p], lr=1.0, weight_decay=0.0, storage="8bit", path=how)
    size, most = torch.ones(128), 0.0
    size[::4] = 1e-4
    for seed in range(60):
        p.grad, before = size * numbers(64, 128, seed=seed), p.detach().clone()
        optimizer.step()
        most = max(most, (p.detach() - before).abs().max().item())
    assert most < 3.0


@pytest.mark.parametrize("stream", [0, 1])
def test_noise_is_uniform_and_new_at_every_step(stream: int) -> None:
    n = 2**20  # of 4,096 blocks, each with a start of its own
    first, second = (random_bits(torch.Size([n]), seed, stream).double() / 65536 for seed in (1, 2))
    assert torch.histc(first, 16, 0, 1).std() / (n / 16) < 0.02
    for other in (second, random_bits(torch.Size([n]), 1, 1 - stream).double(), first.roll(256)):
        assert abs(torch.corrcoef(torch.stack([first, other]))[0, 1]) < 0.06


# Rules in formats ---------------------------------------------------------------------------------
# ------------------


def trained(
    kind: type[Rule], how: str, shape: tuple, dtype: torch.dtype, steps: int = 3, **options
) -> tuple:
    p = nn.Parameter(numbers(*shape).to(dtype))
    optimizer = optimizer_class(kind)([p], lr=0.01, path=how, **options)
    for step in range(steps):
        p.grad = numbers(*shape, seed=step + 1).to(dtype)
        optimizer.step()
    return p.detach().float(), optimizer.state[p], optimizer


@every
@pytest.mark.parametrize("storage", ["bfloat16", "8bit"])
def test_machine_code_and_operations_agree(kind: type[Rule], storage: str) -> None:
    """To the rounding of float32; where that turns a coin the other way, a code differs by one
    step.
    """
    for shape in (WIDE, TALL):
        (fast, state, _), (slow, known, _) = (
            trained(kind, how, shape, torch.float32, storage=storage)
            for how in ("compiled", "eager")
        )
        assert torch.allclose(fast, slow, atol=2e-3)
        assert ((fast - slow).abs() > 2e-5).float().mean() < 0.01
        assert state.keys() == known.keys()
        for word, value in state.items():
            assert value.dtype == known[word].dtype
            if value.dtype == torch.uint8:
                assert ((value.int() - known[word].int()).abs() > 1).float().mean() < 0.01


@every
def test_small_states_follow_the_wide_ones(kind: type[Rule]) -> None:
    for storage, far in (("bfloat16", 0.003), ("8bit", 0.1), ("dynamic 8bit", 0.1)):
        exact, _, _ = trained(kind, "eager", WIDE, torch.float32)
        small, state, _ = trained(kind, "eager", WIDE, torch.float32, storage=storage)
        start = numbers(*WIDE)
        cosine = nn.functional.cosine_similarity(
            (exact - start).flatten(), (small - start).flatten(), dim=0
        )
        assert cosine > 1 - far
        like_x = [value for value in state.values() if value.shape == torch.Size(WIDE)]
        wanted = torch.bfloat16 if storage == "bfloat16" else torch.uint8
        assert all(value.dtype == wanted for value in like_x)


@pytest.mark.parametrize("n", [50_000, 4096, 4097, 65_535])
def test_any_count_of_numbers_is_kept_in_8_bits(n: int) -> None:
    _, state, _ = trained(AdamW, "compiled", (n,), torch.float32, storage="8bit")
    assert state["exp_avg"].dtype == state["exp_avg_sq"].dtype == torch.uint8
    assert state["exp_avg" + SCALE].shape == (1, -(-n // 256))
    size = sum(
        value.numel() * value.element_size() for word, value in state.items() if word != "step"
    )
    assert size / n < 2.05


@pytest.mark.parametrize("shape", [(20, 300), (6000,), (300, 20), (3, 2000)])
@pytest.mark.parametrize("storage", ["parameter", "bfloat16", "8bit", "dynamic 8bit"])
@pytest.mark.parametrize("kind", [AdamW, Lion, NAdam], ids=lambda kind: kind.__name__)
def test_pieces_are_the_whole(
    kind: type[Rule], storage: str, shape: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"storage": storage, "average": 0.9, "max_norm": 1.0}
    whole, state, one = trained(kind, "eager", shape, torch.float32, **options)
    monkeypatch.setattr(chunks, "CHUNK_ELEMENTS", 700)
    parts, same, other = trained(kind, "eager", shape, torch.float32, **options)
    assert torch.equal(whole, parts)
    assert all(torch.equal(value, same[word]) for word, value in state.items())
    assert one.norms.update == pytest.approx(other.norms.update, rel=1e-5)


def test_small_parameters_stay_wide() -> None:
    _, state, _ = trained(AdamW, "eager", (64, 63), torch.bfloat16, storage="8bit")
    assert state["exp_avg"].dtype == torch.float32


def test_layouts_that_blocks_cannot_follow() -> None:
    """A transposed parameter's blocks are those of the tensor as it is read, on whatever path."""
    p, q = nn.Parameter(numbers(*WIDE)), nn.Parameter(numbers(*WIDE).T.contiguous().T)
    for x in (p, q):
        optimizer = betaplane.optim.AdamW([x], storage="8bit", path="compiled")
        for step in range(3):
            x.grad = numbers(*WIDE, seed=step)
            optimizer.step()
        assert optimizer.state[x]["exp_avg"].dtype == torch.uint8
    assert torch.allclose(p, q, atol=1e-5)


# Weights in bfloat16
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["eager", "compiled"])
@pytest.mark.parametrize(
    ("rounding", "end"), [("nearest", 1.0), ("kahan", 0.99), ("stochastic", 0.99)]
)
def test_small_updates_of_bfloat16_weights(how: str, rounding: str, end: float) -> None:
    p = nn.Parameter(torch.ones(64, 64, dtype=torch.bfloat16))
    with (
        pytest.warns(UserWarning, match="round to zero") if rounding == "nearest" else nullcontext()
    ):
        optimizer = betaplane.optim.AdamW(
            [p], lr=1e-4, weight_decay=0.0, rounding=rounding, path=how
        )
    for _ in range(100):
        p.grad = torch.ones_like(p)
        optimizer.step()
    step = 2.0**-8  # of bfloat16 just below 1
    assert abs(p.float().mean().item() - end) <= step
    if rounding == "kahan":
        assert (p.float() - end).abs().max() <= step
    if rounding == "stochastic":
        assert abs(p.float().mean().item() - end) <= 0.0005


# State dicts --------------------------------------------------------------------------------------
# ------------------


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("rounding", ["kahan", "stochastic"])
def test_training_goes_on_after_loading(storage: str, rounding: str) -> None:
    def made() -> tuple[nn.Parameter, torch.optim.Optimizer]:
        p = nn.Parameter(numbers(*WIDE).bfloat16())
        return p, betaplane.optim.AdamW([p], storage=storage, rounding=rounding, average=0.9)

    p, optimizer = made()
    q, other = made()
    for step in range(6):
        p.grad = numbers(*WIDE, seed=step).bfloat16()
        optimizer.step()
        if step == 2:
            file = io.BytesIO()
            torch.save(optimizer.state_dict(), file)
            file.seek(0)
            other.load_state_dict(torch.load(file, weights_only=True))
            q.data.copy_(p.data)
        if step > 2:
            q.grad = p.grad
            other.step()
    assert torch.equal(p, q)
    ours, theirs = optimizer.state[p], other.state[q]
    assert all(
        torch.equal(value, theirs[word]) and value.dtype == theirs[word].dtype
        for word, value in ours.items()
    )


def coded_values(optimizer: Any, p: Tensor, key: str) -> Tensor:
    """A tensor of the state, decoded if it is stored in 8 bits."""
    value = optimizer.state[p][key]
    coded = optimizer.coded(p, optimizer.param_groups[0], key)
    if coded is None:
        return value.float()
    table, scale, _ = coded  # a row of 64 elements is a block
    return table[value.int()] * scale


@pytest.mark.parametrize("new", STORAGES)
@pytest.mark.parametrize("old", STORAGES)
def test_storage_that_changes_between_steps_keeps_the_moments(old: str, new: str) -> None:
    p, q = (nn.Parameter(torch.ones(64, 64)) for _ in range(2))
    optimizer, reference = betaplane.AdamW([p], storage=old), betaplane.AdamW([q])
    for step in range(4):
        p.grad = torch.full((64, 64), 1.0 + step)
        q.grad = p.grad.clone()
        if step == 2:
            optimizer.param_groups[0]["storage"] = new
        optimizer.step()
        reference.step()
    for key in ("exp_avg", "exp_avg_sq"):
        wanted = reference.state[q][key]
        assert torch.allclose(coded_values(optimizer, p, key), wanted, rtol=0.2)
    assert torch.allclose(p, q, rtol=2e-3)
    assert (("exp_avg_scale") in optimizer.state[p]) == (new in EIGHT_BIT)


def test_storage_that_changes_on_a_copy_before_its_first_step_is_rejected() -> None:
    p = nn.Parameter(torch.ones(64, 64))
    optimizer = betaplane.AdamW([p], storage="8bit")
    p.grad = torch.ones(64, 64)
    optimizer.step()
    copied = copy.deepcopy(optimizer)
    copied.param_groups[0]["storage"] = "float32"
    for x in copied.param_groups[0]["params"]:
        x.grad = torch.ones(64, 64)
    with pytest.raises(BadInput, match="The state is stored in 8 bits: got 'float32'"):
        copied.step()


@pytest.mark.parametrize("theirs", ["float32", "bfloat16", "8bit"])
@pytest.mark.parametrize("ours", ["float32", "bfloat16", "8bit"])
@pytest.mark.parametrize("kind", ["AdamW", "Lion"])
def test_a_state_is_loaded_into_another_format(kind: str, theirs: str, ours: str) -> None:
    p, q = (nn.Parameter(numbers(*WIDE)) for _ in range(2))
    saved = getattr(betaplane.optim, kind)([p], storage=theirs)
    for step in range(3):
        p.grad = numbers(*WIDE, seed=step)
        saved.step()
    optimizer = getattr(betaplane.optim, kind)([q], storage=ours)
    optimizer.load_state_dict(copy.deepcopy(saved.state_dict()))
    assert optimizer.param_groups[0]["storage"] == ours
    wanted = {"float32": torch.float32, "bfloat16": torch.bfloat16, "8bit": torch.uint8}[ours]
    assert optimizer.state[q]["exp_avg"].dtype == wanted
    p.grad = q.grad = numbers(*WIDE, seed=9)
    q.data.copy_(p.data)
    saved.step()
    optimizer.step()
    assert torch.allclose(p, q, atol=2e-3)


def test_torchs_checkpoint_is_loaded_into_8_bits_and_goes_back() -> None:
    p, q, r = (nn.Parameter(numbers(*WIDE)) for _ in range(3))
    theirs, ours, back = (
        torch.optim.AdamW([p]),
        betaplane.optim.AdamW([q], storage="8bit"),
        betaplane.optim.AdamW([r]),
    )
    for step in range(3):
        p.grad = numbers(*WIDE, seed=step)
        theirs.step()
    ours.load_state_dict(theirs.state_dict())
    assert ours.state[q]["exp_avg_sq"].dtype == torch.uint8
    back.load_state_dict(ours.state_dict())
    for word in ("exp_avg", "exp_avg_sq"):
        known = theirs.state[p][word]
        assert back.state[r][word].dtype == torch.float32
        assert (
            (back.state[r][word] - known).abs() <= 0.13 * known.abs() + 2e-6 * known.abs().max()
        ).all()
    theirs.load_state_dict(back.state_dict())


# Around the rule ----------------------------------------------------------------------------------
# ------------------


@pytest.mark.parametrize("how", ["eager", "compiled"])
@pytest.mark.parametrize("kind", ["AdamW", "Lion", "Adafactor", "StableAdamW"])
def test_clipping_averaging_and_zeroing_in_one_step(kind: str, how: str) -> None:
    shapes = ((40, 30), (7,), (2, 3, 4))
    ours, slow = (
        [
            nn.Parameter(numbers(*shape, seed=i, dtype=torch.float64))
            for i, shape in enumerate(shapes)
        ]
        for _ in range(2)
    )
    make = getattr(betaplane.optim, kind)
    one = make(ours, lr=0.01, max_norm=1.0, average=0.9, zero=True, path=how)
    other = make(slow, lr=0.01, path=how)
    means = [p.detach().clone() for p in slow]
    for step in range(4):
        for i, (p, q) in enumerate(zip(ours, slow, strict=True)):
            p.grad, q.grad = (
                10.0**-step * 5 * numbers(*p.shape, seed=10 * step + i, dtype=torch.float64)
                for _ in range(2)
            )
        before = [p.detach().clone() for p in slow]
        length = nn.utils.clip_grad_norm_(slow, 1.0)
        other.step()
        means = [0.9 * mean + 0.1 * q.detach() for mean, q in zip(means, slow, strict=True)]
        one.step()
        moved = torch.cat([(q - old).flatten() for q, old in zip(slow, before, strict=True)]).norm()
        assert one.norms.gradient == pytest.approx(length.item(), rel=1e-5)
        assert one.norms.update == pytest.approx(moved.item(), rel=1e-9)
        assert all(not p.grad.any() for p in ours)
    for p, q, mean in zip(ours, slow, means, strict=True):
        assert torch.allclose(p, q, rtol=1e-6, atol=1e-9)
        assert torch.allclose(one.state[p]["average"], mean, rtol=1e-6, atol=1e-9)
    kept = [p.detach().clone() for p in ours]
    with one.averaged():
        assert all(
            torch.allclose(p, mean, rtol=1e-6, atol=1e-9)
            for p, mean in zip(ours, means, strict=True)
        )
    assert all(torch.equal(p, q) for p, q in zip(ours, kept, strict=True))


BAD = [
    (
        {"storage": "4bit"},
        r"Unknown storage '4bit'\. Did you mean '8bit'\? Choose one of: parameter, float32",
    ),
    (
        {"rounding": "up"},
        "Unknown rounding 'up'. Choose one of: nearest, stochastic, kahan",
    ),
    ({"average": 1.0}, r"average is out of range: got 1.0; expected \[0, 1\)"),
    ({"max_norm": 0.0}, r"max_norm is out of range: got 0.0; expected \(0, inf\)"),
]


@pytest.mark.parametrize(("options", "text"), BAD, ids=[next(iter(options)) for options, _ in BAD])
@pytest.mark.parametrize("kind", ["AdamW", "Lion"])
def test_bad_options(kind: str, options: dict, text: str) -> None:
    with pytest.raises(BadInput, match=text):
        getattr(betaplane.optim, kind)([nn.Parameter(torch.zeros(2))], **options)


def test_no_average_is_told() -> None:
    with (
        pytest.raises(BadInput, match="No average of the weights is kept"),
        betaplane.optim.AdamW([nn.Parameter(torch.zeros(2))]).averaged(),
    ):
        pass


def test_every_nonnegative_field_is() -> None:
    """Formats leave the sign away where a rule says that there is none."""
    for kind in ALL:
        rule = kind()
        x, s = numbers(6, 5), None
        s = rule.init(x)
        for step in range(5):
            x, s = rule.step(x, numbers(6, 5, seed=step), s, 0.1)
        for name in set(rule.nonnegative) & set(s._fields):
            assert (getattr(s, name) >= 0).all()
        form = StepSpec(rule, storage="8bit")
        signs = {
            name: form.state_format(torch.zeros(100, 100), name, torch.zeros(100, 100)).signed
            for name in s._fields
            if getattr(s, name).shape == x.shape
        }
        assert all(signed or name in rule.nonnegative for name, signed in signs.items())
