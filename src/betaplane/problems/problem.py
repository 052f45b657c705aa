"""`Problem` (module, loss, data, minibatch order) and `Trainer` (the user's own training loop)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from betaplane.errors import BadInput, expect_function, unknown
from betaplane.problems.commands.command import Command
from betaplane.problems.data_source import (
    Data,
    default_size,
    endless,
    number_of_examples,
    pair_of_tensors,
)
from betaplane.problems.family import PRESERVED, Family
from betaplane.problems.generators import preserve_generators, seed_generators
from betaplane.problems.groups import Groups
from betaplane.problems.loss_form import LossForm, loss_form
from betaplane.problems.order import Order, minibatches
from betaplane.problems.origin import Origin
from betaplane.problems.problem_checks import FUNCTIONS, check_fields

Loss = Callable[[Any, Any], Tensor]
SOURCES = ("data", "validation")  # fields with data that are not tensors in memory
Gradient = Callable[[Mapping[str, Tensor], Tensor, Tensor], tuple[dict[str, Tensor], Tensor]]


class _Default(int):
    """A batch size that was not given."""


@dataclass(frozen=True, eq=False, repr=False)
class Problem:
    """A training problem: everything that a run needs except the rule's hyperparameters and a seed.

    A run is this loop. Each run computes what it would compute as the first run of a new process:

    ```python
    random.seed(seed), numpy.random.seed(seed), torch.manual_seed(seed)
    module = problem.module()
    optimizer = Rule([*module.parameters(), *loss.parameters()])  # if the loss is an nn.Module
    for batch in minibatches:  # x, y of tensors in memory
        optimizer.zero_grad()
        loss(module(x), y).backward()  # or loss(module, batch), or module(**batch).loss
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
        loss: loss(output, target) or loss(model, batch) -> scalar, the mean over the minibatch.
            The names of its parameters decide; None: the `.loss` of the module's output.
            Parameters of an nn.Module are trained too.
        inputs: tensor (N, ...), the inputs of the module; None if `data` is given.
        targets: tensor (N, ...), the targets of the loss.
        batch_size: examples per step, in [1, N]; by default the loader's own, or 32.
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
        boundary_eps: the largest eps for which the boundary holds.
        note: one sentence that describes it, for `betaplane problems`.
        data: instead of inputs and targets, a DataLoader, a Dataset, or a function (batch_size,
            seed) -> batches. Batches are tuples, mappings, dataclasses or objects with `.to`. A
            loader is iterated epoch by epoch, in this process; `order` is that of a map-style
            Dataset. A function is called once per run; a generator must not end before the run.
        validation: held-out data, for maps with `judge="validation"`: a pair (inputs, targets), or
            in one of the forms of `data`. They are read whole, in evaluation mode.
        metric: metric(output, target) or metric(model, batch) -> number of the held-out data, the
            smaller the better; by default the loss.
        groups: groups(module, settings) -> the parameter groups of your optimizer: dicts with
            "params", "name" and settings of their own. settings has those of the run.

    Example:
        >>> x = torch.arange(8.0)[:, None]
        >>> loss = nn.functional.mse_loss
        >>> line = Problem("line", lambda: nn.Linear(1, 1), loss, x, 2 * x, batch_size=4, steps=10)
        >>> line.examples
        8
    """

    name: str
    module: Callable[[], nn.Module]
    loss: Loss | None
    inputs: Tensor = None  # pyright: ignore[reportAssignmentType]  # None if there are data
    targets: Tensor = None  # pyright: ignore[reportAssignmentType]
    batch_size: int = _Default(32)
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
    data: Data | None = field(default=None, kw_only=True)
    validation: Any = field(default=None, kw_only=True)
    metric: Loss | None = field(default=None, kw_only=True)
    boundary_eps: float = field(default=math.inf, kw_only=True)  # gradient units
    groups: Groups | None = field(default=None, kw_only=True)
    form: LossForm = field(init=False, repr=False)  # how the loss is called
    metric_form: LossForm = field(init=False, repr=False)  # how the metric, or the loss, is called
    origin: Origin | None = field(default=None, repr=False, kw_only=True)  # set by `betaplane.load`
    family: Family | None = field(default=None, repr=False, kw_only=True)  # of built-in problems

    def __post_init__(self) -> None:
        pair = pair_of_tensors(self.data)
        if pair is not None and self.inputs is None and self.targets is None:
            self._set(inputs=pair[0], targets=pair[1], data=None)
        if isinstance(self.batch_size, _Default):
            self._set(batch_size=default_size(self.data, self.where, int(self.batch_size)))
        check_fields(self)
        form = loss_form(self.loss, self.data is None, self.where)
        own = self.metric is not None
        tensors = isinstance(self.validation, tuple)
        metric = loss_form(self.metric, tensors, self.where, "metric") if own else form
        self._set(form=form, metric_form=metric)

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        data = f"data of a {type(self.data).__name__}"
        if self.data is None:
            data = f"{self.examples} examples of shape {tuple(self.inputs.shape[1:])}"
        numbers = f"batch_size={self.batch_size}, steps={self.steps}, lr={self.lr:g}"
        return f"Problem({self.name!r}, {data}, {numbers})"

    @property
    def where(self) -> str:
        """The problem's name as the place of an error."""
        return f"problem {self.name!r}"

    @property
    def examples(self) -> int:
        """N, the number of examples; 0 if it is not known (a stream, or a function)."""
        if self.data is not None:
            return number_of_examples(self.data) or 0
        return len(self.inputs)

    @property
    def functions(self) -> dict[str, Any]:
        """The user's code, by the name of its field; what it can reach may change while it runs."""
        names = ("module", "loss", "constrain", "gradient", *SOURCES, "metric", "groups")
        return {name: getattr(self, name) for name in names}

    def batches(self, batch_size: int, seed: int) -> Iterator[Any]:
        """Minibatches without end: pairs (x, y) of tensors in memory, or those of the data.

        Data may draw from the global generators, epoch by epoch.
        """
        if self.data is not None:
            yield from endless(self.data, batch_size, self.order, seed, self.where)
        for index in minibatches(self.examples, batch_size, self.order, seed, block=1):
            yield self.inputs[index[0]], self.targets[index[0]]

    def loss_of(self, module: nn.Module, batch: Any, loss: Loss | None = None) -> Tensor:
        """The loss of a minibatch.

        Args:
            module: the module.
            batch: the minibatch.
            loss: the loss on the device of the module, if that is another one than this problem's.
        """
        return self.form.value_of(self.loss if loss is None else loss, module, batch)

    def fresh(self, seed: int) -> nn.Module:
        """The module at the start of a run with this seed; the global generators do not change."""
        with preserve_generators():
            seed_generators(seed)
            return self.make()

    def make(self) -> nn.Module:
        """A new module, initialized from the global generators; lazy parameters have shapes."""
        module = self.module()
        if not isinstance(module, nn.Module):
            what, allowed = "module() does not return a module", "a torch.nn.Module"
            instead, value = "module=lambda: nn.Linear(64, 10)", type(module).__name__
            raise BadInput(what, value=value, allowed=allowed, where=self.where, instead=instead)
        if any(is_lazy(tensor) for tensor in (*module.parameters(), *module.buffers())):
            self._give_shapes(module)
        return module

    def _give_shapes(self, module: nn.Module) -> None:
        """Run the first examples through a lazy module, in evaluation mode, without gradients."""
        modes = [(part, part.training) for part in module.modules()]
        module.eval()
        with torch.no_grad():
            self._run_once(module)
        for part, training in modes:
            part.training = training

    def _run_once(self, module: nn.Module) -> None:
        if self.data is None:
            module(self.inputs[: self.batch_size].clone())
        else:
            with preserve_generators():
                self.loss_of(module, next(self.batches(self.batch_size, seed=0)))

    def with_(self, **changes: Any) -> Problem:
        """A copy with some fields changed, checked again.

        Raises:
            BadInput: a name is not a field, or a value is not valid.
        """
        names = [field.name for field in fields(self) if field.init]
        for name in changes:
            if name not in names:
                raise unknown("field", name, names, where=self.where, instead="{}=...")
        return replace(self, **{**self._consequences(changes), **changes})

    def _consequences(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Other fields that no longer hold after some were changed."""
        found: dict[str, Any] = {}
        if changes.keys() & {*FUNCTIONS, *SOURCES}:  # the reference does not lead to them
            found["origin"] = None
        if changes.keys() - {*PRESERVED, "note", "origin"}:  # other options would lose the changes
            found["family"] = None
            if self.family and changes.keys() & {*FUNCTIONS, *SOURCES, "inputs", "targets"}:
                found["boundary"] = None  # it is of the data and the functions of the family
        elif self.family and self.boundary and changes.keys() & {"order", "schedule", "batch_size"}:
            found["boundary"] = self.family.boundary(changes)
        return found


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

    @property
    def command(self) -> Command | None:
        """The command that trains, or None if a function does."""
        return self.train if isinstance(self.train, Command) else None

    def with_steps(self, steps: int) -> Trainer:
        """A copy whose command receives the number of steps; itself if it takes none."""
        names = () if self.command is None else self.command.mentioned
        is_given = self.command is not None and self.command.reads_environment and steps > 1
        if "steps" not in names and not is_given:
            return self
        return replace(self, defaults={**self.defaults, "steps": steps})

    @property
    def uses_lr(self) -> bool:
        """Whether the learning rate is known to have an effect."""
        return "lr" in self.defaults or (self.command is not None and self.command.uses("lr"))
