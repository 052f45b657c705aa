"""The state of R replicas as stacked tensors, and its construction from objectives and rules."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils import _pytree as pytree

from betaplane.errors import BadInput
from betaplane.replicas.objective import Objective
from betaplane.replicas.param_groups import Layout, ParamGroup, varying_hyperparameters


@dataclass
class Stack:
    """The state of R replicas; the first dimension of every tensor is R, except in shared
    constants.
    """

    params: dict[str, Tensor]  # the trained parameters
    buffers: dict[str, Tensor]
    state: dict[str, object]  # the rule's state, by parameter
    hyper: dict[str, Tensor]  # float64 (R,), the hyperparameters that differ between runs
    lr: Tensor  # float64 (R,) or (R, groups), peak learning rates
    constants: dict[str, Tensor]  # parameters that are not trained
    shared: bool  # all replicas share the constants, which then have no dimension R

    def __len__(self) -> int:
        return len(self.lr)

    def select(self, indices: Tensor) -> Stack:
        """The replicas with these indices (int64)."""

        def pick(tree: Any) -> Any:
            return pytree.tree_map(lambda leaf: leaf[indices].contiguous(), tree)

        return Stack(
            pick(self.params),
            pick(self.buffers),
            pick(self.state),
            pick(self.hyper),
            pick(self.lr),
            self.constants if self.shared else pick(self.constants),
            self.shared,
        )

    @property
    def constants_dim(self) -> int | None:
        """The replica dimension of the constants, as an argument of vmap."""
        return None if self.shared else 0


def stack_objectives(
    objectives: Sequence[Objective],
    trained: Collection[str],
    groups: Sequence[Sequence[ParamGroup]],
    device: str,
) -> Stack:
    """Stack fresh objectives, one per run or one for all, with the rules' initial states.

    Args:
        objectives: R objectives, or 1.
        trained: names of the parameters that the optimizer updates.
        groups: the parameter groups of R runs, with rules of one class.
        device: device of the stack.
    """
    shared, runs = len(objectives) == 1, len(groups)
    parameters = dict(objectives[0].named_parameters())
    stacked = {
        name: _stack_tensor(objectives, name, device, runs)
        for name in parameters
        if name in trained or not shared
    }
    params = {name: stacked[name] for name in parameters if name in trained}
    constants = {
        name: p.detach().to(device) if shared else stacked[name]
        for name, p in parameters.items()
        if name not in trained
    }
    buffers = {
        name: _stack_tensor(objectives, name, device, runs)
        for name, _ in objectives[0].named_buffers()
    }
    hyper = {
        name: torch.tensor(values, dtype=torch.float64, device=device)
        for name, values in varying_hyperparameters(groups).items()
    }
    lr = torch.tensor([[g.lr for g in of_run] for of_run in groups], dtype=torch.float64)
    lr = (lr if lr.shape[1] > 1 else lr[:, 0]).to(device)
    state = _initial_state(Layout(groups[0]), runs, hyper, params)
    return Stack(params, buffers, state, hyper, lr, constants, shared)


def _initial_state(
    layout: Layout, runs: int, hyper: dict[str, Tensor], params: dict[str, Tensor]
) -> dict[str, object]:
    def init(name: str, p: Tensor) -> object:
        return vmap(lambda p, hyper: layout.rule(name, hyper).init(p))(_at_least_1d(p), hyper)

    state = {name: init(name, p) for name, p in params.items()}
    return pytree.tree_map(lambda leaf: leaf.expand(runs, *leaf.shape[1:]).clone(), state)


def _stack_tensor(objectives: Sequence[Objective], name: str, device: str, runs: int) -> Tensor:
    """The tensor of that name of all objectives, or R copies of the only one."""

    def tensor(objective: Objective) -> Tensor:
        return (dict(objective.named_parameters()) | dict(objective.named_buffers()))[name].detach()

    tensors = [tensor(objective) for objective in objectives]
    return torch.stack(tensors * (runs // len(tensors))).to(device)


def _at_least_1d(p: Tensor) -> Tensor:
    """A stacked scalar parameter as (R, 1), so that float64 hyperparameters do not promote it."""
    return p if p.dim() > 1 else p[:, None]


@contextmanager
def stacking_errors() -> Iterator[None]:
    """Turn an error of torch.func, for a module that it cannot batch, into a BadInput.

    Warnings about slow fallbacks are suppressed, since the probe measures the speed of the stack.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(
            f"The module cannot be stacked ({type(error).__name__}: {str(error).splitlines()[0]})",
            allowed="a module that torch.func.vmap can batch (no sparse embeddings, no control "
            "flow on data, no .item())",
            where="replicas",
            instead='engine="plain", or the callable form train(settings, seed) -> losses',
        ) from error
