"""Files and folders that training loops save their state to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

Writer = Callable[[Path, nn.Module, Any], Path]


def state_file(folder: Path, model: nn.Module, optimizer: Any) -> Path:
    """Save the state dict of the optimizer alone."""
    path = folder / "optimizer.pt"
    torch.save(optimizer.state_dict(), path)
    return path


def training_file(folder: Path, model: nn.Module, optimizer: Any) -> Path:
    """Save everything in one file."""
    path = folder / "last.pt"
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer).state_dict()
    states = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save({**states, "scheduler": scheduler, "epoch": 3, "rng": torch.get_rng_state()}, path)
    return path


def named_file(folder: Path, model: nn.Module, optimizer: Any) -> Path:
    """Save a state dict whose keys are names of parameters, as FSDP does."""
    from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

    path = folder / "full_optimizer.pt"
    torch.save(get_optimizer_state_dict(model, optimizer), path)
    return path


def flat_file(folder: Path, model: nn.Module, optimizer: Any) -> Path:
    """Save tensors alone as safetensors; neither betas nor groups."""
    from safetensors.torch import save_file

    path = folder / "optimizer.safetensors"
    tensors = {}
    for name, p in model.named_parameters():
        for key, value in optimizer.state.get(p, {}).items():
            tensors[f"{name}.{key}"] = torch.as_tensor(value).contiguous()
    save_file(tensors, path)
    return path


def sharded_folder(folder: Path, model: nn.Module, optimizer: Any) -> Path:
    """Save a folder of torch.distributed.checkpoint."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict

    model_state, optimizer_state = get_state_dict(model, optimizer)
    path = folder / "step-100"
    states = {"model": model_state, "optimizer": optimizer_state}
    dcp.save(states, checkpoint_id=path, no_dist=True)
    return path


def zero_folder(folder: Path, model: nn.Module, optimizer: Any) -> Path:
    """Save the shards that DeepSpeed writes at ZeRO stage 1 on two ranks: flat partitions."""
    path = folder / "global_step100"
    path.mkdir()
    params = list(optimizer.state)
    flat = {
        key: torch.cat([optimizer.state[p][key].flatten() for p in params])
        for key in ("exp_avg", "exp_avg_sq")
    }
    weights = torch.cat([p.detach().flatten() for p in params])
    step, group = optimizer.state[params[0]]["step"], optimizer.state_dict()["param_groups"][0]
    for rank in range(2):
        part = slice(rank * len(weights) // 2, (rank + 1) * len(weights) // 2)
        state = {key: value[part].clone() for key, value in flat.items()}
        base = {"state": {0: {"step": step, **state}}, "param_groups": [{**group, "params": [0]}]}
        shard = {"zero_stage": 1, "base_optimizer_state": base, "partition_count": [2]}
        shard["single_partition_of_fp32_groups"] = [weights[part].clone()]
        name = f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt"
        torch.save({"optimizer_state_dict": shard, "ds_version": "0.17.0"}, path / name)
    shapes = [{name: p.shape for name, p in model.named_parameters() if p in optimizer.state}]
    states = {"module": model.state_dict(), "param_shapes": shapes, "global_steps": 100}
    torch.save(states, path / "mp_rank_00_model_states.pt")
    return path


def accelerate_folder(folder: Path, model: nn.Module, optimizer: Any) -> Path:
    """Save the folder of `Accelerator.save_state`."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    accelerator.prepare(model, optimizer)
    accelerator.save_state(str(folder / "state"))
    return folder / "state"


def timm_file(folder: Path, model: nn.Module, optimizer: Any) -> Path:
    """Save the file of timm's `CheckpointSaver`."""
    from timm.utils import CheckpointSaver

    saver = CheckpointSaver(model, optimizer, checkpoint_dir=str(folder), recovery_dir=str(folder))
    saver.save_checkpoint(3, metric=0.7)
    return folder / "last.pth.tar"
