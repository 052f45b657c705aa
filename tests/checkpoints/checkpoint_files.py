"""Checkpoints of a small model that has really been trained."""

from __future__ import annotations

import sys
import types
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

import betaplane

STEPS = 12


def trained(kind: Any = torch.optim.AdamW, steps: int = STEPS, width: int = 80, **options: Any):
    """A model and its optimizer after some steps; the second input is 0, so its column gets no
    gradient.
    """
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(width, 64), nn.Tanh(), nn.Linear(64, 3))
    optimizer = kind(list(model.named_parameters()), **{"lr": 1e-3, **options})
    x, y = torch.randn(64, width), torch.randint(0, 3, (64,))
    x[:, 1] = 0
    for i in range(steps):
        optimizer.zero_grad()
        rows = torch.arange(8) + 8 * (i % 8)
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
    return model, optimizer


def eight_bits(**options: Any):
    """The same with betaplane's 8-bit states."""
    return trained(betaplane.AdamW, storage="8bit", **options)


def saved(held: Any, path: Path) -> Path:
    torch.save(held, path)
    return path


def distributed(held: dict[str, Any], folder: Path) -> Path:
    """A folder of torch.distributed.checkpoint, saved in one process."""
    from torch.distributed import checkpoint

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checkpoint.save(held, checkpoint_id=str(folder))
    return folder


class Unknown:
    """A class of a package that is not there when the file is read."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


class CodedTensor(torch.Tensor):
    """A tensor in codes, laid out as torchao's."""

    @classmethod
    def of(cls, codes: Any, qmap: Any, scale: Any) -> Any:
        made = torch.Tensor._make_wrapper_subclass(cls, codes.shape)
        made.__dict__.update(codes=codes, qmap=qmap, scale=scale, signed=True, block_size=256)
        return made

    @classmethod
    def __torch_dispatch__(cls, *_: Any, **__: Any) -> Any:
        return NotImplemented


def foreign(module: str, name: str, base: Any = Unknown) -> Any:
    """A class that pickles under another program's name; `forget` takes the program away again."""
    made = type(name, (base,), {"__module__": module})
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
    setattr(sys.modules[module], name, made)
    return made


def forget(program: str) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == program]:
        del sys.modules[name]


def zero_shards(folder: Path, elastic: bool = False, ranks: int = 2) -> Path:
    """ZeRO shards as DeepSpeed lays them out: flat float32 groups with padding, and objects of its
    own classes.
    """
    _, optimizer = trained()
    states = list(optimizer.state.values())
    flat = {
        word: torch.cat([s[word].flatten() for s in states]) for word in ("exp_avg", "exp_avg_sq")
    }
    pad = -len(flat["exp_avg"]) % ranks + ranks  # so that the last shard ends in padding
    scaler, address = foreign("deepspeed.runtime.fp16.loss_scaler", "LossScaler"), _address()
    folder.mkdir()
    for rank in range(ranks):
        parts = {
            word: torch.cat([x, torch.zeros(pad)]).chunk(ranks)[rank].clone()
            for word, x in flat.items()
        }
        padding = pad if rank == ranks - 1 else 0
        lean = {word: x[: len(x) - padding] for word, x in parts.items()}
        group = {**optimizer.param_groups[0], "params": [0]}
        base: Any = (
            [{"step": STEPS, **lean}]
            if elastic
            else {"state": {0: {"step": STEPS, **parts}}, "param_groups": [group]}
        )
        if not elastic:
            group.pop("param_names")
        length = len(lean["exp_avg"])
        torch.save(
            {
                "optimizer_state_dict": {
                    "loss_scaler": scaler(cur_scale=1.0),
                    "base_optimizer_state": base,
                    "group_paddings": [padding],
                    "param_slice_mappings": [{f"part{rank}": address(numel=length, start=0)}],
                    "zero_stage": 2,
                }
            },
            folder / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt",
        )
    forget("deepspeed")
    return folder


def _address() -> type:
    return foreign("deepspeed.utils.tensor_fragment", "fragment_address")
