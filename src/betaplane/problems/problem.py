"""What is trained: a module, a loss, data, and how minibatches are drawn from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from betaplane.errors import BadInput, expect_function, nearest
from betaplane.problems._validation import one_of
from betaplane.problems.generators import generators_kept, seed_generators
from betaplane.theory.schedules import NAMES

Order = Literal["shuffle", "replacement", "cyclic"]
ORDERS: tuple[Order, ...] = ("shuffle", "replacement", "cyclic")
Loss = Callable[[Tensor, Tensor], Tensor]
# fields that are the user's code
FUNCTIONS = ("module", "loss", "constrain", "gradient", "boundary")
EXAMPLES = {
    "module": "module=lambda: torch.nn.Linear(2, 1)",
    "loss": "loss=torch.nn.functional.mse_loss",
}
Gradient = Callable[[Mapping[str, Tensor], Tensor, Tensor], tuple[dict[str, Tensor], Tensor]]


@dataclass(frozen=True)
class Origin:
    """Where a problem was loaded from, so that another process can load its functions."""

    reference: str  # as given to `betaplane.load`
    # `contents.contents` of the problem at that time
    contents: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, eq=False, repr=False)
class Problem:
    """A training problem: everything a run needs except the rule's hyperparameters and a seed.

    A run is this loop, and each run does what it would do as the first in a new process:

    ```python
    random.seed(seed), numpy.random.seed(seed), torch.manual_seed(seed)
    module = problem.module()
    optimizer = Rule([*module.parameters(), *loss.parameters()])  # those of the loss if it is an nn.Module
    for x, y in minibatches:
        optimizer.zero_grad()
        loss(module(x), y).backward()
        optimizer.step()
    ```

    Parameters without `requires_grad` stay as they are, as do those that receive no gradient: no weight decay, no
    momentum. Submodules stay in the mode, training or evaluation, in which `module()` leaves them. Lazy modules get
    their shapes from the first `batch_size` examples. What a run changes outside of its own module (the loss, class
    attributes, variables seen through closures and globals) is put back at its end, as are the random generators.

    Args:
        name: what it is called on maps and in the store.
        module: a function that makes a fresh module; called with all generators seeded, so that the initialisation is
            a function of the run's seed.
        loss: loss(output, target) -> scalar, the mean over the minibatch. An nn.Module with
            parameters is trained too.
        inputs: tensor (N, ...), the examples given to the module.
        targets: tensor (N, ...), given to the loss.
        batch_size: examples a step, in [1, N].
        order: how minibatches are drawn: "shuffle" (every example once an epoch, new order each epoch),
            "replacement" (independent draws), "cyclic" (0, 1, 2, ... for ever).
        steps: steps a run takes, >= 1.
        lr: the peak learning rate, > 0.
        schedule: name of the learning-rate schedule (`betaplane.theory.schedules.NAMES`).
        warmup: share of the steps spent on linear warmup, in [0, 1); for the schedules that have
            one.
        best: the smallest loss there is, where it is known; else the best a map finds stands in for
            it.
        record: what a loss curve holds: "minibatch" (mean training loss over a window of steps) or "full" (the
            loss on all the data at the end of each window; for problems whose data are a handful of numbers).
        constrain: applied, after each step, to every parameter that received a gradient (a
            projection), or None.
        gradient: gradient(parameters, input, target) -> (gradients, loss), the analytic one where it is known;
            else autograd.
        boundary: boundary(beta1) -> the exact critical beta2 or nan, where it is known, to be drawn
            on maps.
        note: one sentence on what it is, for `betaplane problems`.

    Example:
        >>> line = Problem("line", lambda: nn.Linear(1, 1), nn.functional.mse_loss,
        ...                torch.arange(8.0)[:, None], 2 * torch.arange(8.0)[:, None], batch_size=4, steps=10)
        >>> line.examples, line.batches_per_epoch
        (8, 2)
    """

    name: str
    module: Callable[[], nn.Module]
    loss: Loss
    inputs: Tensor
    targets: Tensor
    batch_size: int = 32
    order: Order = "shuffle"
    steps: int = 1000
    lr: float = 1e-3
    schedule: str = "constant"
    warmup: float = 0.0
    best: float | None = None
    record: Literal["minibatch", "full"] = "minibatch"
    constrain: Callable[[Tensor], Tensor] | None = None
    gradient: Gradient | None = None
    boundary: Callable[[float], float] | None = None
    note: str = ""
    origin: Origin | None = field(default=None, repr=False, kw_only=True)  # set by `betaplane.load`

    def __post_init__(self) -> None:
        _check(self)

    def __repr__(self) -> str:
        data = f"{self.examples} examples of shape {tuple(self.inputs.shape[1:])}"
        return f"Problem({self.name!r}, {data}, batch_size={self.batch_size}, steps={self.steps}, lr={self.lr:g})"

    @property
    def examples(self) -> int:
        """N, the number of examples."""
        return len(self.inputs)

    @property
    def functions(self) -> dict[str, Any]:
        """The user's code, by the name of its field; what it can reach may change while it runs."""
        names = ("module", "loss", "constrain", "gradient")
        return {name: getattr(self, name) for name in names}

    @property
    def batches_per_epoch(self) -> int:
        """How many whole minibatches an epoch has."""
        return self.examples // self.batch_size

    def fresh(self, seed: int) -> nn.Module:
        """The module as run `seed` starts from it; leaves the global generators as they were."""
        with generators_kept():
            seed_generators(seed)
            return self.make()

    def make(self) -> nn.Module:
        """A module, drawn from the global generators as they are, with the shapes of lazy
        parameters known.
        """
        module = self.module()
        if not isinstance(module, nn.Module):
            raise BadInput(
                "module() does not make a module",
                value=type(module).__name__,
                allowed="a torch.nn.Module",
                where=f"problem {self.name!r}",
                instead="module=lambda: nn.Linear(64, 10)",
            )
        if any(is_lazy(tensor) for tensor in (*module.parameters(), *module.buffers())):
            self._give_shapes(module)
        return module

    def _give_shapes(self, module: nn.Module) -> None:
        """Run the first examples through a module with lazy parts, in evaluation mode, without a
        gradient.
        """
        modes = [(part, part.training) for part in module.modules()]
        module.eval()
        with torch.no_grad():
            module(self.inputs[: self.batch_size].clone())
        for part, training in modes:
            part.training = training

    def with_(self, **changes: Any) -> Problem:
        """The same problem with some fields changed, checked again.

        Raises:
            BadInput: a name is no field, or a value does not fit.
        """
        names = [each.name for each in fields(self)]
        for name, value in changes.items():
            if name not in names:
                raise BadInput(
                    f"A problem has no {name}",
                    value=value,
                    allowed=", ".join(names),
                    where=f"problem {self.name!r}",
                    instead=f"{nearest(name, names, 'steps')}=...",
                )
        own = {"origin": None} if changes.keys() & set(FUNCTIONS) else {}
        return replace(self, **{**own, **changes})


@dataclass(frozen=True, eq=False)
class Trainer:
    """Training that cannot be vectorised (its own loop, a subprocess, several devices), as a
    callable.

    Args:
        name: what it is called on maps and in the store.
        train: train(settings, seed) -> losses; settings maps hyperparameter names (beta1, beta2, lr, eps,
            batch_size, weight_decay) to numbers; losses is a sequence of floats in the order of training, of any
            length >= 1; a loss that is not finite means divergence.
        best: the smallest loss there is, where it is known.
        defaults: settings that the map does not vary, by name.
        note: one sentence on what it is.
    """

    name: str
    train: Callable[[dict[str, float], int], Any]
    best: float | None = None
    defaults: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    origin: Origin | None = field(default=None, repr=False, kw_only=True)  # set by `betaplane.load`

    def __post_init__(self) -> None:
        instead = "train=lambda settings, seed: losses"
        expect_function(self.train, "train", instead, f"trainer {self.name!r}")


def _check(problem: Problem) -> None:
    """Raise BadInput for a problem that cannot be trained, before anything is computed."""
    where = f"problem {problem.name!r}"
    _check_functions(problem, where)
    _check_data(problem, where)
    n = problem.examples
    if not (_whole(problem.batch_size) and 1 <= problem.batch_size <= n):
        raise BadInput(
            "The batch size does not fit the data",
            value=problem.batch_size,
            allowed=f"[1, {n}]",
            where=where,
            instead=f"batch_size={min(32, n)}",
        )
    ranges = (
        ("steps", _whole(problem.steps) and problem.steps >= 1, "1, 2, 3, ...", "steps=1000"),
        ("lr", _number(problem.lr) and 0 < problem.lr < math.inf, "(0, inf)", "lr=0.001"),
        ("warmup", _number(problem.warmup) and 0 <= problem.warmup < 1, "[0, 1)", "warmup=0.1"),
    )
    for name, holds, allowed, instead in ranges:
        if not holds:
            value = getattr(problem, name)
            raise BadInput(
                f"{name} is out of range",
                value=value,
                allowed=allowed,
                where=where,
                instead=instead,
            )
    one_of(ORDERS, where, order=problem.order)
    one_of(NAMES, where, schedule=problem.schedule)
    one_of(("minibatch", "full"), where, record=problem.record)


def _check_functions(problem: Problem, where: str) -> None:
    for name in FUNCTIONS:
        function = getattr(problem, name)
        if name in EXAMPLES or function is not None:
            expect_function(function, name, EXAMPLES.get(name, f"{name}=None"), where)


def _check_data(problem: Problem, where: str) -> None:
    for name in ("inputs", "targets"):
        data = getattr(problem, name)
        if not isinstance(data, Tensor) or data.dim() == 0:
            raise BadInput(
                f"{name} is not a tensor of examples",
                value=type(data).__name__,
                allowed="a tensor of shape (N, ...)",
                where=where,
                instead=f"{name}=torch.as_tensor({name})",
            )
        if data.is_floating_point() and not bool(torch.isfinite(data).all()):
            raise BadInput(
                f"{name} hold values that are not finite",
                value=int((~torch.isfinite(data)).sum()),
                allowed="0 NaN or infinite entries",
                where=f"{where}, {name} of shape {tuple(data.shape)}",
                instead=f"{name}=torch.nan_to_num({name})",
            )
    if problem.examples == 0:
        raise BadInput("The data set is empty", value=0, allowed="at least 1 example", where=where)
    if len(problem.targets) != problem.examples:
        raise BadInput(
            "inputs and targets differ in length",
            value=len(problem.targets),
            allowed=f"{problem.examples} targets, one for each input",
            where=where,
        )


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
