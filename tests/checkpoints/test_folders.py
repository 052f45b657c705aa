"""Folders of Hugging Face and Accelerate: several optimizers, and the model beside."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from betaplane.checkpoints import inspect, read_checkpoint


def stepped(model: nn.Module) -> torch.optim.AdamW:
    """An optimizer of two groups, as Trainer makes them, after a step."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": matrices}, {"params": vectors}])
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    return optimizer


def block() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 4))


def test_repeated_blocks_of_a_trainer_are_named_in_their_order(tmp_path: Path):
    model = nn.ModuleDict({"h": nn.ModuleList([block() for _ in range(11)])})
    optimizer = stepped(model)
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    layers = read_checkpoint(tmp_path).layers
    assert all(layer.numbered for layer in layers)  # any order is possible
    (tmp_path / "trainer_state.json").write_text("{}")
    names = {id(p): name for name, p in model.named_parameters()}
    params = [p for group in optimizer.param_groups for p in group["params"]]
    layers = read_checkpoint(tmp_path).layers
    assert [layer.name for layer in layers] == [names[id(p)] for p in params]


def test_the_model_beside_names_shapes_that_occur_once(tmp_path: Path):
    model = block()
    torch.save(stepped(model).state_dict(), tmp_path / "optimizer.bin")
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    names = {layer.name for layer in read_checkpoint(tmp_path).layers}
    assert names == {name for name, _ in model.named_parameters()}


def test_all_optimizers_of_a_folder_are_read_and_kept_apart(tmp_path: Path):
    first, second = stepped(block()).state_dict(), stepped(block()).state_dict()
    second["state"][1]["exp_avg_sq"].zero_()
    torch.save(first, tmp_path / "optimizer.bin")
    torch.save(second, tmp_path / "optimizer_1.bin")
    inspection = inspect(tmp_path)
    assert [row.health.name for row in inspection.suspicious] == ["optimizer_1: parameter 1"]
    assert len(inspection.rows) == 8
