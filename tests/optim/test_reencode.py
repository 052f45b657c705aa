"""States that change their storage format when they are saved or loaded, of whole and of sharded
tensors.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor, init_device_mesh

import betaplane
from betaplane.optim.state.reencode import decode_state_dict, encode_states, make_portable
from betaplane.optim.storage_formats import SCALE

SHAPE = (64, 128)
CODED = ("exp_avg", "exp_avg_sq")


def gradient(seed: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def made(*params: Tensor, steps: int = 2, **options) -> torch.optim.Optimizer:
    """An optimizer of one or more parameters, after some steps of known gradients."""
    params = params or (nn.Parameter(torch.zeros(SHAPE)),)
    optimizer = betaplane.AdamW([*params], lr=0.1, path="eager", **options)
    for seed in range(steps):
        for p in params:
            g = gradient(seed)
            p.grad = (
                distribute_tensor(g, p.device_mesh, p.placements) if isinstance(p, DTensor) else g
            )
        optimizer.step()
    return optimizer


def state_of(optimizer: torch.optim.Optimizer) -> dict:
    return optimizer.state[optimizer.param_groups[0]["params"][0]]


def exact() -> dict:
    """The moments in float32 after the same steps."""
    return state_of(made())


def relative_error(state: dict, key: str) -> float:
    value = state[key].to(torch.float64)
    return float((value - exact()[key]).abs().max() / exact()[key].abs().max())


@pytest.mark.parametrize("ours", ["parameter", "float32", "bfloat16", "8bit"])
@pytest.mark.parametrize("theirs", ["parameter", "float32", "bfloat16", "8bit"])
def test_a_loaded_state_is_in_the_optimizers_own_format(theirs: str, ours: str) -> None:
    saved = copy.deepcopy(made(storage=theirs).state_dict())
    optimizer = made(storage=ours, steps=0)
    optimizer.load_state_dict(copy.deepcopy(saved))
    state = state_of(optimizer)
    formats = {"8bit": torch.uint8, "bfloat16": torch.bfloat16}
    for key in CODED:
        assert state[key].dtype == formats.get(ours, torch.float32)
        assert (key + SCALE in state) == (ours == "8bit")
        if theirs == ours:  # bit by bit
            assert torch.equal(state[key], saved["state"][0][key])
        elif ours != "8bit":
            assert relative_error(state, key) < 0.1
    assert state["step"] == 2
    assert optimizer.param_groups[0].get("storage", "parameter") == ours
    back = made(storage="float32", steps=0)
    back.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert all(relative_error(state_of(back), key) < 0.2 for key in CODED)


def test_only_states_of_another_format_are_decoded() -> None:
    optimizer = made(storage="8bit")
    same = copy.deepcopy(optimizer.state_dict())
    assert decode_state_dict(optimizer, same, optimizer.state_keys)[0] is same["state"][0]
    wide = made(steps=0)
    decoded = decode_state_dict(wide, same, wide.state_keys)[0]
    assert decoded.keys() == {"step", *CODED}
    assert decoded["exp_avg"].dtype == torch.float32
    assert relative_error(decoded, "exp_avg") < 0.1
    assert decode_state_dict(wide, {**same, "state": {}}, wide.state_keys) == {}
    unnamed = copy.deepcopy(same)
    del unnamed["param_groups"][0]["storage"]  # as torch saves it: of the parameter's own format
    assert decode_state_dict(wide, unnamed, wide.state_keys)[0] is unnamed["state"][0]


def test_states_are_encoded_once_and_their_counts_and_compensation_not_at_all() -> None:
    optimizer = made(storage="8bit")
    state = state_of(optimizer)
    before = {key: value.clone() for key, value in state.items()}
    encode_states(optimizer, optimizer.state_keys, ["8bit"])
    assert {*state} == {*before}
    assert all(torch.equal(state[key], before[key]) for key in before)
    # the first moment is encoded already, and the second is not
    v = exact()["exp_avg_sq"].clone()
    state["exp_avg_sq"] = v
    del state["exp_avg_sq" + SCALE]
    encode_states(optimizer, optimizer.state_keys, ["8bit"])
    assert torch.equal(state["exp_avg"], before["exp_avg"])
    assert state["exp_avg_sq"].dtype == torch.uint8
    narrow = nn.Parameter(torch.zeros(SHAPE, dtype=torch.bfloat16))
    kahan = betaplane.AdamW([narrow], lr=0.1, path="eager", storage="8bit", rounding="kahan")
    narrow.grad = gradient(0).bfloat16()
    kahan.step()
    rest = copy.deepcopy(kahan.state_dict())
    other = betaplane.AdamW(
        [nn.Parameter(torch.zeros(SHAPE, dtype=torch.bfloat16))], lr=0.1, path="eager", storage="bfloat16",
        rounding="kahan",
    )  # fmt: skip
    other.load_state_dict(rest)
    extra = [key for key in rest["state"][0] if key not in (*CODED, "step") and SCALE not in key]
    assert len(extra) == 1
    assert torch.equal(state_of(other)[extra[0]], rest["state"][0][extra[0]])


def test_a_state_in_the_parameters_own_format_stays_as_it_was_saved() -> None:
    """float32 moments of a bfloat16 parameter are not cast if both sides store them so."""
    narrow = nn.Parameter(torch.zeros(SHAPE, dtype=torch.bfloat16))
    optimizer = betaplane.AdamW([narrow], lr=0.1, path="eager")
    optimizer.state[narrow].update(copy.deepcopy(exact()))
    encode_states(optimizer, optimizer.state_keys, ["parameter"])
    assert optimizer.state[narrow]["exp_avg"].dtype == torch.float32
    encode_states(optimizer, optimizer.state_keys, ["8bit"])
    assert optimizer.state[narrow]["exp_avg"].dtype == torch.bfloat16


# sharded tensors, on a mesh of one rank


@pytest.fixture(scope="module")
def mesh() -> Iterator:
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


def sharded(mesh, placement) -> nn.Parameter:
    return nn.Parameter(distribute_tensor(torch.zeros(SHAPE), mesh, [placement]))


@pytest.mark.parametrize(
    ("placement", "portable"), [(Shard(0), False), (Replicate(), False), (Shard(1), True)], ids=str
)
def test_8_bit_states_of_tensors_split_within_rows_are_saved_in_float32(mesh, placement, portable):
    optimizer = made(sharded(mesh, placement), storage="8bit")
    saved = optimizer.state_dict()["state"][0]
    for key in CODED:
        assert (key + SCALE in saved) != portable
        assert saved[key].dtype == (torch.float32 if portable else torch.uint8)
        assert isinstance(saved[key], DTensor)
        if portable:
            assert relative_error({key: saved[key].to_local()}, key) < 0.1
    assert state_of(optimizer)["exp_avg"].dtype == torch.uint8  # which itself is unchanged


@pytest.mark.parametrize("placement", [Shard(0), Shard(1), Replicate()], ids=str)
def test_a_sharded_state_is_loaded_into_another_format_and_back(mesh, placement):
    eight = made(sharded(mesh, placement), storage="8bit")
    wide = made(sharded(mesh, placement), steps=0)
    wide.load_state_dict(copy.deepcopy(eight.state_dict()))
    state = state_of(wide)
    assert {*state} == {"step", *CODED}
    assert all(relative_error({key: state[key].to_local()}, key) < 0.1 for key in CODED)
    again = made(sharded(mesh, placement), steps=0, storage="8bit")
    again.load_state_dict(copy.deepcopy(wide.state_dict()))
    coded = state_of(again)
    assert all(coded[key].dtype == torch.uint8 and key + SCALE in coded for key in CODED)
    assert all(isinstance(coded[key], DTensor) for key in CODED)
    by_rows = placement != Shard(1)
    assert isinstance(coded["exp_avg" + SCALE], DTensor) == by_rows
    back = made(sharded(mesh, placement), steps=0)
    back.load_state_dict(copy.deepcopy(again.state_dict()))
    assert all(relative_error({k: state_of(back)[k].to_local()}, k) < 0.2 for k in CODED)


def test_a_whole_tensor_is_saved_in_8_bits(mesh):
    optimizer = made(storage="8bit")
    saved = torch.optim.Optimizer.state_dict(optimizer)
    assert make_portable(optimizer, saved, optimizer.state_keys)["state"][0] is saved["state"][0]
    split = made(sharded(mesh, Shard(1)))
    wide = torch.optim.Optimizer.state_dict(split)
    assert make_portable(split, wide, split.state_keys)["state"][0] is wide["state"][0]
