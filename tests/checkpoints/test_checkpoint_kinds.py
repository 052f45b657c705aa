"""Every layout of a checkpoint gives the same layers: those of the optimizer that was saved."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import (
    STEPS,
    CodedTensor,
    distributed,
    eight_bits,
    foreign,
    forget,
    saved,
    trained,
    zero_shards,
)
from safetensors.torch import save_file
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict

import betaplane
from betaplane.checkpoints import inspect, read_checkpoint
from betaplane.optim.storage_formats import dynamic_map


def flat(optimizer) -> dict[str, torch.Tensor]:
    names = optimizer.param_groups[0]["param_names"]
    states = zip(names, optimizer.state.values(), strict=True)
    return {f"state.{name}.{word}": x for name, state in states for word, x in state.items()}


def flattened(model, optimizer) -> dict[str, Any]:
    """As torch flattens it: one level, names with points."""
    options = StateDictOptions(flatten_optimizer_state_dict=True)
    return get_optimizer_state_dict(model, optimizer, options=options)


def written(kind: str, folder: Path) -> Path:
    model, optimizer = trained()
    state = optimizer.state_dict()
    if kind == "torch":
        return saved(state, folder / "opt.pt")
    if kind == "old torch":
        torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)
        return folder / "old.pt"
    if kind == "no checksums":
        torch.serialization.set_crc32_options(False)
        try:
            return saved(state, folder / "plain.pt")
        finally:
            torch.serialization.set_crc32_options(True)
    if kind == "hugging face":
        (folder / "checkpoint-12").mkdir()
        saved(state, folder / "checkpoint-12/optimizer.pt")
        return folder / "checkpoint-12"
    if kind == "lightning":
        held = {
            "epoch": 1,
            "state_dict": model.state_dict(),
            "optimizer_states": [state],
            "lr_schedulers": [],
        }
        for group in state["param_groups"]:
            del group["param_names"]
        return saved(held, folder / "last.ckpt")
    if kind == "dcp":
        return distributed({"model": model.state_dict(), "optim": state}, folder / "dcp")
    if kind == "flattened":
        return saved({"epoch": 1, "optim": flattened(model, optimizer)}, folder / "flat.pt")
    if kind == "dcp flattened":
        return distributed({"optim": flattened(model, optimizer)}, folder / "flat")
    if kind == "dcp flattened alone":
        return distributed(flattened(model, optimizer), folder / "alone")
    if kind == "dcp inside":
        (folder / "step-12").mkdir()
        distributed({"optimizer": state}, folder / "step-12/optimizer_0")
        return folder / "step-12"
    betas = {"betas": json.dumps([0.9, 0.999]), "eps": "1e-8", "lr": "1e-3"}
    save_file(flat(optimizer), folder / "opt.safetensors", betas)
    return folder / "opt.safetensors"


KINDS = [
    "torch", "old torch", "no checksums", "hugging face", "lightning", "dcp", "dcp inside", "flattened",
    "dcp flattened", "dcp flattened alone", "safetensors",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_layers_are_those_of_the_optimizer(kind: str, tmp_path: Path):
    model, optimizer = trained()
    found = {layer.name: layer for layer in read_checkpoint(written(kind, tmp_path)).layers}
    names = [name for name, _ in model.named_parameters()]
    assert list(found) == names or kind.startswith(("dcp", "safetensors"))
    for name, p in model.named_parameters():
        layer, state = found[name], optimizer.state[p]
        assert torch.equal(layer.m, state["exp_avg"])
        assert torch.equal(layer.v, state["exp_avg_sq"])
        assert layer.t == STEPS
        assert layer.settings[:4] == (1e-3, 0.9, 0.999, 1e-8)
        assert layer.adam


@pytest.mark.parametrize("kind", ["flat.pt", "dcp"])
def test_flattened_groups_are_distinguished(kind: str, tmp_path: Path):
    model, _ = trained()
    halves = [list(model[0].parameters()), list(model[2].parameters())]
    optimizer = torch.optim.AdamW(
        [{"params": halves[0], "betas": (0.9, 0.95)}, {"params": halves[1], "eps": 1e-6}]
    )
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    held, path = {"optim": flattened(model, optimizer)}, tmp_path / kind
    found = read_checkpoint(
        saved(held, path) if kind == "flat.pt" else distributed(held, path)
    ).layers
    settings_of = {layer.name: layer.settings[:4] for layer in found}
    assert settings_of["0.weight"] == settings_of["0.bias"] == (1e-3, 0.9, 0.95, 1e-8)
    assert settings_of["2.weight"] == settings_of["2.bias"] == (1e-3, 0.9, 0.999, 1e-6)


@pytest.mark.parametrize("elastic", [False, True])
def test_zero_shards(elastic: bool, tmp_path: Path):
    folder = zero_shards(tmp_path / "global_step12", elastic)
    assert "deepspeed" not in sys.modules
    found = read_checkpoint(folder, betas=(0.9, 0.999), eps=1e-8)
    assert [layer.name for layer in found.layers] == ["part0", "part1"]
    assert found.kind == "DeepSpeed ZeRO"
    _, optimizer = trained()
    states = optimizer.state.values()
    whole = torch.cat([state["exp_avg_sq"].flatten() for state in states])
    assert torch.equal(torch.cat([layer.v for layer in found.layers]), whole)
    assert {layer.t for layer in found.layers} == {STEPS}
    assert {layer.settings.beta2 for layer in found.layers} == {0.999}
    assert not inspect(folder, trained=(0.9, 0.999), eps=1e-8).suspicious
    assert read_checkpoint(next(iter(folder.iterdir()))).kind == "DeepSpeed ZeRO"


def test_states_in_8_bits_are_decoded(tmp_path: Path):
    (_, plain), (_, coded) = trained(betaplane.AdamW), eight_bits()
    first = read_checkpoint(saved(coded.state_dict(), tmp_path / "8bit.pt")).layers[0]
    state = plain.state_dict()["state"][0]
    assert first.dtype == "8bit"
    assert first.held["exp_avg"].dtype == torch.uint8
    top = state["exp_avg_sq"].max()
    assert ((first.v - state["exp_avg_sq"]).abs() <= 0.1 * top).all()
    assert first.v.sum() == pytest.approx(float(state["exp_avg_sq"].sum()), rel=0.05)
    assert first.m.norm() == pytest.approx(float(state["exp_avg"].norm()), rel=0.05)
    assert not inspect(tmp_path / "8bit.pt").suspicious


def others_state(folder: Path, kind: str) -> tuple[Path, dict[str, torch.Tensor]]:
    """A state in codes as another library lays it out, and what its first layer stands for."""
    _, optimizer = trained(betaplane.AdamW, storage="dynamic 8bit")
    held = optimizer.state_dict()
    state = held["state"][0]
    known, parts = {}, {}
    for word, signed in (("exp_avg", True), ("exp_avg_sq", False)):
        codes, scale, table = (
            state.pop(word),
            state.pop(f"{word}_scale"),
            dynamic_map(signed).float(),
        )
        # one scale for all rows
        known[word] = table[codes.int()] * torch.ones(64, 80) * scale.view(64, -1).max()
        parts[word] = codes, table, scale.view(64, -1).max().expand(codes.numel() // 256).clone()
    if kind == "torchao":
        made = foreign("torchao.optim.subclass_8bit", "OptimState8bit", CodedTensor)
        state |= {word: made.of(*held) for word, held in parts.items()}
    else:
        words = [f"{name}{i}" for i in (1, 2) for name in ("state", "qmap", "absmax")]
        state["__bnb_optimizer_quant_state__"] = dict(
            zip(words, [x for part in parts.values() for x in part], strict=True)
        )
    path = saved(held, folder / "theirs.pt")
    if kind == "torchao":
        forget("torchao")
    return path, known


@pytest.mark.parametrize("kind", ["bitsandbytes", "torchao"])
def test_codes_of_other_libraries_are_decoded(kind: str, tmp_path: Path):
    path, known = others_state(tmp_path, kind)
    first = read_checkpoint(path).layers[0]
    torch.testing.assert_close(first.m, known["exp_avg"])
    torch.testing.assert_close(first.v, known["exp_avg_sq"])
    assert (first.dtype, first.t) == ("8bit", STEPS)
    assert first.bytes == pytest.approx(2 * 80 * 64, rel=0.25)  # codes, and two maps of 256 numbers
    assert first.adam


@pytest.mark.parametrize(
    "kind",
    [betaplane.Lion, betaplane.AdaBelief, betaplane.LaProp, betaplane.AdEMAMix, torch.optim.NAdam, torch.optim.RAdam,
     torch.optim.Adamax, betaplane.StableAdamW, betaplane.Adan, betaplane.Yogi],
)  # fmt: skip
def test_relatives_are_read_and_not_judged_by_adams_bound(kind, tmp_path: Path):
    found = inspect(saved(trained(kind)[1].state_dict(), tmp_path / "opt.pt"))
    assert not found.suspicious
    assert len(found.rows) == 4


@pytest.mark.parametrize("kind", [betaplane.LaProp, betaplane.AdaBelief, betaplane.Yogi])
def test_rules_that_divide_differently_have_no_adam_update(kind, tmp_path: Path):
    optimizer = trained(kind)[1]
    for row in inspect(saved(optimizer.state_dict(), tmp_path / "opt.pt")).rows:
        h = row.health
        assert h.root_v > 0
        assert all(math.isnan(x) for x in (h.ratio, h.bound, h.update, h.uneven))


@pytest.mark.parametrize("storage", ["float32", "bfloat16", "8bit", "dynamic 8bit"])
def test_a_healthy_run_raises_no_suspicion(storage: str, tmp_path: Path):
    _, optimizer = trained(betaplane.AdamW, steps=80, storage=storage, average=0.9)
    assert not inspect(saved(optimizer.state_dict(), tmp_path / "opt.pt")).suspicious


def test_bytes_are_counted(tmp_path: Path):
    found = inspect(saved(trained()[1].state_dict(), tmp_path / "opt.pt"))
    numbers = 80 * 64 + 64 + 64 * 3 + 3
    assert (found.numbers, found.bytes) == (numbers, 8 * numbers + 4 * 4)
    assert found.to_dict()["bytes_as"]["8bit"] == 2.03125 * numbers
