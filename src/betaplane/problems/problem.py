"""`Problem` (module, loss, data, minibatch order) and `Trainer` (the user's own training loop)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from betaplane.errors import BadInput, expect_function, unknown
from betaplane.problems._validation import one_of
from betaplane.problems.generators import preserve_generators, seed_generators
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
    """The reference that a problem was loaded by; another process loads its functions by it."""

    reference: str  # the argument of `betaplane.load`
    # `contents.contents` of the problem when it was loaded
    contents: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, eq=False, repr=False)
class Problem:
    """A training problem: everything that a run needs except the rule's hyperparameters and a seed.

    A run is this loop. Each run computes what it would compute as the first run of a new process:

    ```python
    random.seed(seed), numpy.random.seed(seed), torch.manual_seed(seed)
    module = problem.module()
    optimizer = Rule([*module.parameters(), *loss.parameters()])  # if the loss is an nn.Module
    for x, y in minibatches:
        optimizer.zero_grad()
        loss(module(x), y).backward()
        optimizer.step()
    ```

    Parameters that do not require or do not receive a gradient are not changed: they get no weight
    decay and no momentum. Submodules stay in the mode, training or evaluation, in which `module()`
    leaves them. Lazy modules get their shapes from the first `batch_size` examples. At the end of a
    run, everything that it changed outside of its own module (the loss, class attributes, variables
    of closures and globals) is restored, and so are the random generators.

    Args:
        name: name on maps and in the store.
        module: a function that returns a new module; all generators are seeded before the call, so
            that the initialization is a function of the run's seed.
        loss: loss(output, target) -> scalar, the mean over the minibatch. Parameters of an
            nn.Module are trained too.
        inputs: tensor (N, ...), the inputs of the module.
        targets: tensor (N, ...), the targets of the loss.
        batch_size: examples per step, in [1, N].
        order: how minibatches are drawn: "shuffle" (every example once per epoch, in a new order
            each epoch), "replacement" (independent draws), "cyclic" (0, 1, ..., N - 1, repeated).
        steps: steps per run, >= 1.
        lr: the peak learning rate, > 0.
        schedule: name of the learning-rate schedule (`betaplane.theory.schedules.NAMES`).
        warmup: share of the steps spent on linear warmup, in [0, 1); for the schedules that have
            one.
        best: the smallest possible loss, or None if it is not known; a map then uses the best loss
            that it measured.
        record: the points of a loss curve: "minibatch" (mean training loss over a window of steps)
            or "full" (the loss on all data at the end of each window; for problems with a handful
            of numbers as data).
        constrain: a projection, applied after each step to every parameter that received a
            gradient, or None.
        gradient: gradient(parameters, input, target) -> (gradients, loss), if an analytic gradient
            is known; None uses autograd.
        boundary: boundary(beta1) -> the exact critical beta2 or nan, if it is known; maps show it.
        note: one sentence that describes it, for `betaplane problems`.

    Example:
        >>> x = torch.arange(8.0)[:, None]
        >>> loss = nn.functional.mse_loss
        >>> line = Problem("line", lambda: nn.Linear(1, 1), loss, x, 2 * x, batch_size=4, steps=10)
        >>> line.examples
        8
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
        numbers = f"batch_size={self.batch_size}, steps={self.steps}, lr={self.lr:g}"
        return f"Problem({self.name!r}, {data}, {numbers})"

    @property
    def examples(self) -> int:
        """N, the number of examples."""
        return len(self.inputs)

    @property
    def functions(self) -> dict[str, Any]:
        """The user's code, by the name of its field; what it can reach may change while it runs."""
        names = ("module", "loss", "constrain", "gradient")
        return {name: getattr(self, name) for name in names}

    def fresh(self, seed: int) -> nn.Module:
        """The module at the start of a run with this seed; the global generators do not change."""
        with preserve_generators():
            seed_generators(seed)
            return self.make()

    def make(self) -> nn.Module:
        """A new module, initialized from the global generators; lazy parameters have shapes."""
        module = self.module()
        if not isinstance(module, nn.Module):
            raise BadInput(
                "module() does not return a module",
                value=type(module).__name__,
                allowed="a torch.nn.Module",
                where=f"problem {self.name!r}",
                instead="module=lambda: nn.Linear(64, 10)",
            )
        if any(is_lazy(tensor) for tensor in (*module.parameters(), *module.buffers())):
            self._give_shapes(module)
        return module

    def _give_shapes(self, module: nn.Module) -> None:
        """Run the first examples through a lazy module, in evaluation mode, without gradients."""
        modes = [(part, part.training) for part in module.modules()]
        module.eval()
        with torch.no_grad():
            module(self.inputs[: self.batch_size].clone())
        for part, training in modes:
            part.training = training

    def with_(self, **changes: Any) -> Problem:
        """A copy with some fields changed, checked again.

        Raises:
            BadInput: a name is not a field, or a value is not valid.
        """
        names = [field.name for field in fields(self)]
        for name in changes:
            if name not in names:
                where = f"problem {self.name!r}"
                raise unknown("field", name, names, where=where, instead="{}=...")
        # the reference does not lead to the changed functions
        without_origin = {"origin": None} if changes.keys() & set(FUNCTIONS) else {}
        return replace(self, **{**without_origin, **changes})


@dataclass(frozen=True, eq=False)
class Trainer:
    """A training function of the user: a loop, a subprocess, several devices.

    Args:
        name: name on maps and in the store.
        train: train(settings, seed) -> losses; settings maps hyperparameter names (beta1, beta2,
            lr, eps, batch_size, weight_decay) to numbers. losses is a sequence of floats in the
            order of training, of any length >= 1; a loss that is not finite means divergence. A
            generator, which yields the losses, is closed as soon as a loss is not finite.
        best: the smallest possible loss, or None if it is not known.
        defaults: settings that the map does not vary, by name.
        note: one sentence that describes it.
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
                f"{name} contain values that are not finite",
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
            allowed=f"{problem.examples} targets, one per input",
            where=where,
        )


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
