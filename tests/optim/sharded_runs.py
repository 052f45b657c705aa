"""What each of several processes checks of sharded training; `test_sharding.py` starts them and
reads what they found.

    python sharded_runs.py RANK WORLD FOLDER some|more

A check is a function that returns figures; all processes go through all of them in the same order.
"""

from __future__ import annotations

import copy
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

import betaplane.optim
from betaplane.errors import BadInput
from betaplane.rules import ALL

Case = tuple[str, dict[str, Any]]
WHOLE: list[Case] = [  # look at more of a tensor than one number
    ("AdamW", {"clip": 0.3}),
    ("AdamW", {"cautious": "mean"}),
    ("Lion", {"cautious": "paper"}),
    ("NAdam", {"clip": 0.3}),
    ("AdamMini", {"blocks": "tensor"}),
    ("AdamMini", {"blocks": "element"}),
    ("Adafactor", {"floor": "square", "momentum": True}),
]
CASES: list[Case] = [(rule.__name__, {}) for rule in ALL] + WHOLE
CASES += [("Adam", {"amsgrad": True}), ("AdamW", {"eps_at": "hat"}), ("SGD", {"momentum": 0.9})]
FEW: list[Case] = [
    (name, {})
    for name in ("AdamW", "NAdam", "Lion", "ADOPT", "Adafactor", "AdamMini", "StableAdamW")
]


def word(case: Case) -> str:
    name, options = case
    return f"{name}({', '.join(f'{option}={value}' for option, value in options.items())})"


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def net(out: int = 65) -> nn.Module:
    """Of 65 rows two processes take 33 and 32; of the last layer's one row, the second process has
    none.
    """
    torch.manual_seed(0)
    layers = (nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, out), nn.Tanh(), nn.Linear(out, 1))
    return nn.Sequential(*layers).double()


def sharded(out: int = 65) -> nn.Module:
    return fully_shard(net(out))


def made(model: nn.Module, case: Case, lr: float = 0.01) -> torch.optim.Optimizer:
    name, options = case
    return getattr(betaplane.optim, name)(model.parameters(), lr=lr, **options)


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, steps: range, *, share: bool = False
) -> None:
    """Some steps; with `share`, on this process's share of the batch, whose gradients torch
    averages.
    """
    for step in steps:
        x = numbers(8, 64, seed=100 + step)
        mine = x.chunk(dist.get_world_size())[dist.get_rank()] if share else x
        optimizer.zero_grad()
        model(mine).square().mean().backward()
        optimizer.step()


def whole(value: Any) -> Any:
    return value.full_tensor() if isinstance(value, DTensor) else value


def apart(found: nn.Module, wanted: nn.Module) -> float:
    """The largest difference between the parameters of two models."""
    pairs = zip(found.parameters(), wanted.parameters(), strict=True)
    return max(float((whole(p) - q).detach().abs().max()) for p, q in pairs)


def states_apart(found: torch.optim.Optimizer, wanted: torch.optim.Optimizer) -> float:
    sides = ([group["params"] for group in side.param_groups] for side in (found, wanted))
    pairs = [
        pair for left, right in zip(*sides, strict=True) for pair in zip(left, right, strict=True)
    ]
    most = 0.0
    for p, q in pairs:
        held, right = found.state[p], wanted.state[q]
        if held.keys() != right.keys():
            return float("inf")
        for name, value in held.items():
            if isinstance(value, Tensor):
                most = max(most, float((whole(value) - right[name]).abs().max()))
    return most


def kept_right(optimizer: torch.optim.Optimizer) -> bool:
    """States like a parameter are spread as it is, numbers are plain."""
    pairs = [
        (p, value)
        for p, held in optimizer.state.items()
        for name, value in held.items()
        if isinstance(value, Tensor) and name not in ("row_var", "col_var")
    ]
    like = [
        isinstance(v, DTensor) and v.placements == p.placements
        for p, v in pairs
        if v.dim() and v.shape == p.shape
    ]
    return all(like) and not any(isinstance(v, DTensor) for _, v in pairs if v.dim() == 0)


class Seen(TorchDispatchMode):
    """Counts the operations on DTensors."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += any(issubclass(kind, DTensor) for kind in types)
        return func(*args, **(kwargs or {}))


# -- checks --


def every_rule(folder: Path) -> dict[str, Any]:
    """Each rule, whole and in two uneven shards."""
    found = {}
    for case in CASES:
        (plain, model) = net(), sharded()
        (right, optimizer) = made(plain, case), made(model, case)
        train(plain, right, range(4))
        train(model, optimizer, range(4))
        found[word(case)] = [
            apart(model, plain),
            states_apart(optimizer, right),
            kept_right(optimizer),
        ]
    return found


def shared_batches(folder: Path) -> dict[str, float]:
    """A batch that is shared out gives what the whole of it gives."""
    found = {}
    for case in FEW:
        plain, model = net(), sharded()
        train(plain, made(plain, case), range(4))
        train(model, made(model, case), range(4), share=True)
        found[word(case)] = apart(model, plain)
    return found


def local_steps(folder: Path) -> dict[str, int]:
    """How many operations on DTensors there are in a step."""
    found = {}
    for case in [("AdamW", {}), ("Lion", {}), ("StableAdamW", {})]:
        model = sharded()
        optimizer = made(model, case)
        train(model, optimizer, range(2))
        with Seen() as seen:
            optimizer.step()
        found[word(case)] = seen.count
    model = sharded()
    adam = made(model, ("AdamW", {}))
    train(model, adam, range(2))
    lists = adam._fused_lists[0]
    train(model, adam, range(2, 4))
    return {**found, "fused lists kept": int(adam._fused_lists[0] is lists)}


def other_placements(folder: Path) -> dict[str, float]:
    """Columns, copies, and a mesh of two dimensions, without a model around them."""
    world, found = dist.get_world_size(), {}
    line, copies, split = (
        init_device_mesh("cpu", shape) for shape in ((world,), (world, 1), (1, world))
    )
    spread = [(line, [Shard(1)]), (line, [Replicate()]), (copies, [Replicate(), Shard(0)])]
    spread += [(copies, [Shard(1), Shard(0)]), (split, [Replicate(), Shard(0)])]
    for case in CASES:
        for mesh, placements in spread:
            x, most = numbers(7, 5), 0.0
            q = nn.Parameter(x.clone())
            p = nn.Parameter(distribute_tensor(x.clone(), mesh, placements))
            kind = getattr(betaplane.optim, case[0])
            left, right = (kind([one], lr=0.01, **case[1]) for one in (p, q))
            for step in range(3):
                g = numbers(7, 5, seed=step + 1)
                p.grad, q.grad = distribute_tensor(g, mesh, placements), g
                left.step()
                right.step()
            most = max(float((p.full_tensor() - q).abs().max()), 0.0 if kept_right(left) else 1.0)
            name = f"{word(case)} {tuple(mesh.shape)} {placements}"
            if most > 1e-12:
                found[name] = most
    return found


def fresh_states(folder: Path) -> dict[str, bool]:
    """Torch's helpers fill the state of a new optimizer by a step; its weights stay, and every
    process has the same.
    """
    found = {}
    for case in CASES:
        model = sharded()
        before = [p.full_tensor().detach().clone() for p in model.parameters()]
        optimizer = made(model, case)
        saved_state = get_optimizer_state_dict(model, optimizer)
        same = all(
            torch.equal(x, p.full_tensor()) for x, p in zip(before, model.parameters(), strict=True)
        )
        words = [None] * dist.get_world_size()
        dist.all_gather_object(
            words, sorted((name, *held) for name, held in saved_state["state"].items())
        )
        found[word(case)] = same and all(one == words[0] for one in words)
    return found


def _saved(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, **options: Any
) -> None:
    state = {
        "model": get_model_state_dict(model),
        "optim": get_optimizer_state_dict(model, optimizer),
    }
    dcp.save(state, checkpoint_id=folder, **options)


def _loaded(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, **options: Any
) -> None:
    state = {
        "model": get_model_state_dict(model),
        "optim": get_optimizer_state_dict(model, optimizer),
    }
    dcp.load(state, checkpoint_id=folder, **options)
    set_model_state_dict(model, state["model"])
    set_optimizer_state_dict(model, optimizer, state["optim"])


def resharding(folder: Path, cases: list[Case] = FEW) -> dict[str, float]:
    """Two processes, one, two again, three steps each, against nine steps without a break."""
    found = {}
    for i, case in enumerate(cases):
        plain, first = net(), sharded()
        train(plain, made(plain, case), range(9))
        optimizer = made(first, case)
        train(first, optimizer, range(3))
        _saved(folder / f"{i}-two", first, optimizer)
        if dist.get_rank() == 0:
            alone = net()
            nn.init.zeros_(alone[0].weight)
            optimizer = made(alone, case, lr=1.0)
            _loaded(folder / f"{i}-two", alone, optimizer, no_dist=True)
            train(alone, optimizer, range(3, 6))
            _saved(folder / f"{i}-one", alone, optimizer, no_dist=True)
        dist.barrier()
        last = sharded()
        optimizer = made(last, case, lr=1.0)
        _loaded(folder / f"{i}-one", last, optimizer)
        train(last, optimizer, range(6, 9))
        found[word(case)] = apart(last, plain)
    return found


def whole_state_dicts(folder: Path) -> dict[str, float]:
    """The state dict of one process, into two by torch's helper, and by `load_state_dict` alone;
    and out again.
    """
    found = {}
    for case in FEW:
        plain, helped, direct = net(), sharded(), sharded()
        right = made(plain, case)
        train(plain, right, range(3))
        for model in (helped, direct):
            set_model_state_dict(
                model, plain.state_dict(), options=StateDictOptions(full_state_dict=True)
            )
        one, two = made(helped, case), made(direct, case)
        saved_state = get_optimizer_state_dict(plain, right)
        set_optimizer_state_dict(
            helped, one, copy.deepcopy(saved_state), options=StateDictOptions(full_state_dict=True)
        )
        two.load_state_dict(copy.deepcopy(right.state_dict()))
        for model, optimizer in ((plain, right), (helped, one), (direct, two)):
            train(model, optimizer, range(3, 6))
        back = get_optimizer_state_dict(direct, two, options=StateDictOptions(full_state_dict=True))
        third = made(net(), case)
        third.load_state_dict(
            {
                **back,
                "state": dict(enumerate(back["state"].values())),
                "param_groups": [
                    {**group, "params": list(range(6))} for group in back["param_groups"]
                ],
            }
        )
        found[word(case)] = max(
            apart(helped, plain), apart(direct, plain), states_apart(third, right)
        )
    return found


def types_are_kept(folder: Path) -> list[str]:
    """Moments in float32 of a bfloat16 parameter stay so, and the parameter steps as an unsharded
    one.
    """
    mesh, x, g = (
        init_device_mesh("cpu", (dist.get_world_size(),)),
        numbers(7, 3),
        numbers(7, 3, seed=1),
    )
    found = []
    for name in ("AdamW", "Lion", "StableAdamW"):
        saved = []
        for spread in (lambda x: distribute_tensor(x, mesh, [Shard(0)]), lambda x: x):
            p = nn.Parameter(spread(x.bfloat16()))
            optimizer = getattr(betaplane.optim, name)([p], lr=0.01)
            p.grad = spread(g.bfloat16())
            optimizer.step()
            state = optimizer.state_dict()
            for held in state["state"].values():
                held["exp_avg"] = held["exp_avg"].float()
            optimizer.load_state_dict(state)
            optimizer.step()
            saved += [str(optimizer.state[p]["exp_avg"].dtype), whole(p.detach()).tolist()]
        found.append(saved[0] if saved[:2] == saved[2:] else "differ")
    return found


def bad_gradients(folder: Path) -> dict[str, Any]:
    """One number that is not finite, in the last process's part."""
    found = {}
    for name in ("AdamW", "Lion", "StableAdamW"):
        model = sharded()
        before = [p.full_tensor().detach().clone() for p in model.parameters()]
        optimizer = getattr(betaplane.optim, name)(model.named_parameters(), nonfinite="skip")
        model(numbers(8, 64)).square().mean().backward()
        if dist.get_rank() == dist.get_world_size() - 1:
            model[2].weight.grad.to_local()[0, 0] = float("nan")
        optimizer.step()
        moved = [
            not torch.equal(x, p.full_tensor())
            for x, p in zip(before, model.parameters(), strict=True)
        ]
        optimizer.nonfinite = "raise"
        try:
            optimizer.step()
        except BadInput as error:
            found[name] = [moved, str(error)]
    return found


def curvature(folder: Path) -> float:
    """Estimates of the Hessian's diagonal, spread or whole on every process."""
    most = 0.0
    for options in ({}, {"cautious": "mean"}):
        plain, model = net(), sharded()
        right, optimizer = made(plain, ("Sophia", options)), made(model, ("Sophia", options))
        for step in range(4):
            train(plain, right, range(step, step + 1))
            train(model, optimizer, range(step, step + 1))
            right.curvature([p.grad.square() for p in plain.parameters()])
            spread = step % 2 == 0
            optimizer.curvature(
                [
                    p.grad.square() if spread else q.grad.square()
                    for p, q in zip(model.parameters(), plain.parameters(), strict=True)
                ]
            )
        most = max(most, apart(model, plain), states_apart(optimizer, right))
    return most


def taken_over(folder: Path) -> dict[str, float]:
    """Torch's optimizer under way, then ours; a group added later."""
    found = {}
    for name in ("AdamW", "SGD", "NAdam", "RMSprop"):
        plain, model = net(), sharded()
        sides = []
        for one in (plain, model):
            theirs = getattr(torch.optim, name)(one[0].parameters(), lr=0.01)
            train(one, theirs, range(3))
            ours = betaplane.optim.from_torch(theirs)
            ours.add_param_group({"params": list(one[2].parameters()), "lr": 0.001})
            train(one, ours, range(3, 6))
            sides.append(ours)
        found[name] = max(apart(model, plain), states_apart(sides[1], sides[0]))
    return found


def around(folder: Path) -> dict[str, bool]:
    """What is done around the rule: formats of states, an average, clipping by norm, zeroing."""
    world, found = dist.get_world_size(), {}
    mesh = init_device_mesh("cpu", (world,))
    for name in ("AdamW", "Lion", "StableAdamW", "AdamMini"):
        for options in (
            {"storage": "dynamic 8bit"}, {"storage": "float32"}, {"average": 0.9},
            {"max_norm": 0.5, "zero": True}, {"rounding": "kahan"},
        ):  # fmt: skip
            if name == "AdamMini" and "storage" in options:
                continue
            dtype = torch.float32 if "storage" in options else torch.float64
            if "rounding" in options:
                dtype = torch.bfloat16
            ps, qs = [], []
            for shape in ((33, 300), (5001,), (1, 300)):
                x = numbers(*shape).to(dtype)
                qs.append(nn.Parameter(x.clone()))
                ps.append(nn.Parameter(distribute_tensor(x.clone(), mesh, [Shard(0)])))
            if "8bit" in options.get("storage", ""):
                # of a vector, the whole is kept in 8 bits, and parts are not
                qs[1:], ps[1:] = [], []
            left, right = (
                getattr(betaplane.optim, name)(list(side), lr=0.01, **options) for side in (ps, qs)
            )
            for step in range(3):
                for p, q in zip(ps, qs, strict=True):
                    g = numbers(*q.shape, seed=step + 1).to(dtype)
                    p.grad, q.grad = distribute_tensor(g.clone(), mesh, [Shard(0)]), g
                left.step()
                right.step()
            most = max(
                float((p.full_tensor() - q).detach().abs().max())
                for p, q in zip(ps, qs, strict=True)
            )
            zeroed = "zero" not in options or not any(
                float(p.grad.full_tensor().abs().max()) for p in ps
            )
            lengths = (
                []
                if left.norms is None
                else [abs(a - b) for a, b in zip(left.norms, right.norms, strict=True)]
            )
            close = 1e-6 if lengths else 1e-12  # lengths are measured in part in 32 bits
            found[word((name, options))] = (
                max(most, states_apart(left, right), *lengths) <= close and zeroed
            )
    return found


def eight_bits(folder: Path) -> float:
    """A matrix of 33 rows with states in 8 bits, saved by two processes, read by one: its blocks go
    with its rows.
    """
    case: Case = ("AdamW", {"storage": "dynamic 8bit"})
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(300, 33, bias=False))
    model = fully_shard(copy.deepcopy(plain))
    right, optimizer = made(plain, case), made(model, case)
    for step in range(2):
        g = numbers(33, 300, seed=step + 1).float()
        for one in (plain, model):
            weight = one[0].weight
            weight.grad = (
                distribute_tensor(g, weight.device_mesh, [Shard(0)]) if one is model else g
            )
        right.step()
        optimizer.step()
    _saved(folder / "eight", model, optimizer)
    alone = nn.Sequential(nn.Linear(300, 33, bias=False))
    third = made(alone, case)
    _loaded(folder / "eight", alone, third, no_dist=True)
    spread = optimizer.state[model[0].weight]["exp_avg_scale"].placements == (Shard(0),)
    return max(
        apart(alone, plain),
        states_apart(third, right),
        states_apart(optimizer, right),
        float(not spread),
    )


def vectors_in_eight_bits(folder: Path) -> float:
    """Of a vector and a narrow matrix, whose blocks are each process's own: loaded whole, in parts,
    and whole again.
    """
    mesh, most = init_device_mesh("cpu", (dist.get_world_size(),)), 0.0
    for shape in ((5001,), (1001, 7)):
        x = numbers(*shape).float()
        q = nn.Parameter(x.clone())
        spread = [nn.Parameter(distribute_tensor(x.clone(), mesh, [Shard(0)])) for _ in range(2)]
        whole_one, first, second = (
            betaplane.optim.AdamW([one], storage="8bit") for one in (q, *spread)
        )
        last = betaplane.optim.AdamW([nn.Parameter(x.clone())], storage="8bit")

        def step(optimizer: Any, seed: int, shape: tuple = shape) -> None:
            p, g = optimizer.param_groups[0]["params"][0], numbers(*shape, seed=seed).float()
            p.grad = distribute_tensor(g, mesh, [Shard(0)]) if isinstance(p, DTensor) else g
            optimizer.step()
            kept = optimizer.state[p]["exp_avg"]
            assert (kept.to_local() if isinstance(kept, DTensor) else kept).dtype == torch.uint8

        step(whole_one, 1)
        for before, after in ((whole_one, first), (first, second), (second, last)):
            saved_state = before.state_dict()
            if after is last:
                own = saved_state["state"][0]
                own |= {k: v.full_tensor() for k, v in own.items() if isinstance(v, DTensor)}
            after.load_state_dict(saved_state)
            p, r = (optimizer.param_groups[0]["params"][0] for optimizer in (before, after))
            start = (p.full_tensor() if isinstance(p, DTensor) else p).detach().clone()
            with torch.no_grad():
                r.copy_(
                    distribute_tensor(start, mesh, [Shard(0)]) if isinstance(r, DTensor) else start
                )
            step(before, 2), step(after, 2)
            ends = [
                v.detach().full_tensor() if isinstance(v, DTensor) else v.detach() for v in (p, r)
            ]
            most = max(most, float((ends[0] - ends[1]).abs().max() / (ends[0] - start).abs().max()))
    return most


def wrong_states(folder: Path) -> list[str]:
    """What cannot be loaded, or not be sharded, and says so."""
    model, other = sharded(), sharded(64)
    optimizer, wrong = made(model, ("Lion", {})), made(other, ("Lion", {}))
    train(other, wrong, range(1))
    return [refusal(lambda: optimizer.load_state_dict(wrong.state_dict()))]


def refusal(act: Callable[[], Any]) -> str:
    try:
        act()
    except BadInput as error:
        return str(error)
    return ""


def data_parallel(folder: Path, cases: list[Case] = FEW) -> dict[str, float]:
    """DDP, alone and with ZeRO's optimizer around ours, whose parts are put together again."""
    from torch.distributed.optim import ZeroRedundancyOptimizer  # whose import warns

    found = {}
    for case in cases:
        plain, ddp, zero = net(), DistributedDataParallel(net()), DistributedDataParallel(net())
        right = made(plain, case)
        train(plain, right, range(4))
        train(ddp, made(ddp, case), range(4))
        kind = getattr(betaplane.optim, case[0])
        optimizer = ZeroRedundancyOptimizer(zero.parameters(), kind, lr=0.01, **case[1])
        train(zero, optimizer, range(2))
        optimizer.consolidate_state_dict(to=0)
        if dist.get_rank() == 0:
            saved_state = optimizer.state_dict()
            assert len(saved_state["state"]) == (6 if optimizer.optim.state else 0)
        train(zero, optimizer, range(2, 4))
        found[word(case)] = max(apart(ddp, plain), apart(zero, plain))
    return found


def compiled(folder: Path) -> dict[str, float]:
    """Local parts on the compiled path."""
    found = {}
    for case in [("Lion", {}), ("AdamW", {"eps_at": "hat"}), ("ADOPT", {})]:
        plain, model = net(), sharded()
        train(plain, made(plain, case), range(4))
        train(model, made(model, (case[0], {**case[1], "path": "compiled"})), range(4))
        found[word(case)] = apart(model, plain)
    return found


def every_resharding(folder: Path) -> dict[str, float]:
    return resharding(folder, CASES)


def every_data_parallel(folder: Path) -> dict[str, float]:
    return data_parallel(folder, CASES)


SOME: list[Callable[[Path], Any]] = [
    every_rule, shared_batches, local_steps, fresh_states, whole_state_dicts, types_are_kept,
    bad_gradients, curvature, taken_over, around, eight_bits, vectors_in_eight_bits, wrong_states, resharding,
    data_parallel,
]  # fmt: skip
MORE: list[Callable[[Path], Any]] = [
    other_placements,
    every_resharding,
    every_data_parallel,
    compiled,
]


def main(rank: int, world: int, folder: Path, which: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # torch's own, of its collectives
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=60),
    )
    found: dict[str, Any] = {}
    with written(found, folder / f"{rank}.json"):
        for check in SOME if which == "some" else MORE:
            found[check.__name__] = check(folder)
    dist.barrier()  # a process that ends early breaks the other's connections
    dist.destroy_process_group()
    os._exit(0)  # gloo's threads may abort a process while it ends


@contextmanager
def written(found: dict[str, Any], path: Path) -> Iterator[None]:
    """Whatever happens, what was found is written down."""
    try:
        yield
    except BaseException:
        found["error"] = traceback.format_exc()
        raise
    finally:
        path.write_text(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
