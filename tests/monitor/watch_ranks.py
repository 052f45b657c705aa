"""Readings of each of several ranks; `test_watch_ranks.py` starts them and compares their results.

python watch_ranks.py RANK WORLD FOLDER some|more
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor
from torch.distributed.tensor.experimental import implicit_replication
from torch.nn.parallel import DistributedDataParallel

import betaplane
from betaplane.monitor import Watcher, read_lines, watch

FAST = {"every": 2, "budget": math.inf, "console": False}
STEPS, LOUD = 46, 44
Make = Callable[[Any], torch.optim.Optimizer]


def net() -> nn.Module:
    """Two ranks hold 33 and 32 of 65 rows; the second one holds none of the last layer's single row."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 65), nn.Tanh(), nn.Linear(65, 1)).double()


def batch(step: int) -> Tensor:
    """Noise; at one step, different data."""
    x = torch.randn(8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
    return 200 * x if step == LOUD else x


def adamw(params: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(params, lr=1e-3)


def train(
    model: nn.Module, make: Make = adamw, share: bool = False, steps: int = STEPS, **options: Any
) -> Watcher:
    """With `share`, each rank gets its part of the batch, and torch averages gradients."""
    optimizer = make(model.parameters())
    watcher = watch(optimizer, model=getattr(model, "module", model), **{**FAST, **options})
    for step in range(1, steps + 1):
        x = batch(step)
        x = x.chunk(dist.get_world_size())[dist.get_rank()] if share else x
        optimizer.zero_grad()
        loss = (model(x) - x.square().sum(1, keepdim=True)).square().mean()
        loss.backward()
        watcher.loss(loss)
        optimizer.step()
    watcher.close()
    return watcher


def seen(watcher: Watcher) -> dict[str, Any]:
    """All readings, losses and alerts of a watcher, as JSON-compatible data."""
    return {
        "steps": watcher.history.step,
        "readings": {
            layer: [
                {
                    name: str(value) if name == "shape" else value
                    for name, value in one._asdict().items()
                }
                for one in kept
            ]
            for layer, kept in watcher.history.readings.items()
        },
        "losses": [list(each) for each in watcher.history.losses],
        "norms": [list(each) for each in watcher.history.readings.gradient_norms],
        "rows": {
            layer: rows.count.tolist() for layer, rows in watcher.history.readings.rows.items()
        },
        "alerts": [[alert.step, alert.layer, alert.cause] for alert in watcher.alerts],
    }


def narrow(params: Any) -> torch.optim.Optimizer:
    return betaplane.AdamW(params, lr=1e-3, storage="bfloat16")


def ours(params: Any) -> torch.optim.Optimizer:
    return betaplane.AdamW(params, lr=1e-3)


def columns() -> nn.Module:
    """The first layer is sharded by columns, as in tensor parallelism; the rest is replicated."""
    model, mesh = net(), init_device_mesh("cpu", (dist.get_world_size(),))
    model[0].weight = nn.Parameter(distribute_tensor(model[0].weight.detach(), mesh, [Shard(1)]))
    for name in ("0.bias", "2.weight", "2.bias"):
        owner, word = model[int(name[0])], name[2:]
        whole = distribute_tensor(getattr(owner, word).detach(), mesh)
        setattr(owner, word, nn.Parameter(whole))
    return model


def replicated() -> nn.Module:
    """Two replicas; the mesh's other dimension has one shard."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(), 1), mesh_dim_names=("copies", "parts"))
    return fully_shard(net(), mesh=mesh)


def disagreeing(folder: Path) -> dict[str, Any]:
    """The budgets of the ranks are used up at different steps: they read when both can, and none waits."""
    model = fully_shard(net())
    optimizer = adamw(model.parameters())
    watcher = watch(optimizer, model=model, **{**FAST, "every": 1})
    for step in range(1, 13):
        spent = step in (3, 4) if dist.get_rank() == 0 else step in (7, 8)
        for budget in (watcher.budgets.reading, watcher.budgets.recording):
            budget.share, budget.spent, budget.cost = (
                (0.0, 1.0, 1.0) if spent else (math.inf, 0.0, 1.0)
            )
        optimizer.zero_grad()
        model(batch(step)).square().mean().backward()
        optimizer.step()
    return {"steps": [each.step for each in watcher.history.readings["0.weight"]]}


def alone(folder: Path) -> dict[str, Any]:
    """Only one rank watches, without waiting for the other; then only the other one."""
    found: dict[str, Any] = {}
    for rank in range(dist.get_world_size()):
        model = fully_shard(net())
        optimizer = torch.optim.AdamW(model.parameters(), betas=(0.95, 0.85))
        path = folder / f"only-{rank}.jsonl"
        watcher = watch(optimizer, path, model=model, **FAST) if dist.get_rank() == rank else None
        for step in range(1, 7):
            optimizer.zero_grad()
            model(batch(step)).square().mean().backward()
            optimizer.step()
        if watcher is not None:
            watcher.close()
        dist.barrier()
        rows = read_lines(path)
        found[str(rank)] = [
            sorted({row["layer"] for row in rows if row["kind"] == "reading"}),
            len([row for row in rows if row["kind"] == "alert"]),
        ]
    return found


def main(rank: int, world: int, folder: Path, which: str) -> None:
    torch.set_num_threads(1)
    makes = {"torch": adamw} if which == "some" else {"ours": ours, "bfloat16": narrow}
    found = {f"plain, {name}": seen(train(net(), make)) for name, make in makes.items()}
    store = dist.FileStore(str(folder / "store"), world)
    dist.init_process_group(
        "gloo", store=store, rank=rank, world_size=world, timeout=timedelta(seconds=60)
    )
    for name, make in makes.items():
        path = folder / f"{name}.jsonl"
        found[f"sharded, {name}"] = seen(train(fully_shard(net()), make, path=path))
    if which == "some":
        found["ddp"] = seen(
            train(DistributedDataParallel(net()), share=True, path=folder / "ddp.jsonl")
        )
        found["sharded, shares"] = seen(train(fully_shard(net()), share=True))
        found["disagreeing"], found["alone"] = disagreeing(folder), alone(folder)
    else:
        found["copies"] = seen(train(replicated(), ours, share=True))
        with implicit_replication():
            found["columns"] = seen(train(columns(), ours))
    dist.barrier()
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()
    os._exit(0)  # gloo's threads may abort a process while it ends


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
