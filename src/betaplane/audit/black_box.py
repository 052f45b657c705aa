"""An optimizer class as a black box: construct it, step it, read its options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput, unknown

BETAS = ("beta1", "beta2", "beta3")
# a matrix, which some rules need, with sides from 16 to 128: libraries factor from there on
SHAPE = (18, 20)
ONES = torch.ones(SHAPE, dtype=torch.float64)
# of another shape and another number of elements
OTHER_ONES = torch.ones((24, 19), dtype=torch.float64)
TRIAL_VALUES = {
    "lr": 0.05,
    "eps": 0.05,
    "weight_decay": 0.25,
    "beta1": 0.8,
    "beta2": 0.95,
    "beta3": 0.97,
    "maximize": True,
}


class Unmeasured(Exception):
    """A measurement is nan or infinite."""


class Path(NamedTuple):
    """The path of a parameter under an optimizer."""

    points: Tensor  # (steps + 1, ...), from the start on
    numbers: dict[str, float]  # the options in effect, by the rules' names
    rates: list[float]  # lr per step


class BlackBox:
    """An optimizer class with the user's constructor arguments.

    Args:
        cls: a subclass of torch.optim.Optimizer.
        options: constructor arguments by the class's names; no test changes them.

    Raises:
        BadInput: cls is not an optimizer class, needs more arguments, or rejects these.
    """

    def __init__(self, cls: type[Optimizer], options: Mapping[str, Any]) -> None:
        self.cls = cls
        self.options = dict(options)
        self.base = {}
        self.name = getattr(cls, "__name__", type(cls).__name__)
        if not (isinstance(cls, type) and issubclass(cls, Optimizer)):
            allowed = "a subclass of torch.optim.Optimizer"
            raise BadInput(
                "This is not an optimizer class", value=self.name, allowed=allowed, where="audit"
            )
        self._check()
        self.names = self._names()
        self.settable = {name for name in TRIAL_VALUES if self._accepts(name)}
        self.call_style, self.step_error = self._call_style()

    def _check(self) -> None:
        """Raise BadInput unless the options fit the constructor; set lr if it is required."""
        known = list(inspect.signature(self.cls).parameters.values())[1:]
        if "lr" in [p.name for p in known if p.default is p.empty]:
            self.base = {"lr": 1e-3}
        names = [p.name for p in known]
        strange = [name for name in self.options if name not in names]
        if strange and not any(p.kind is p.VAR_KEYWORD for p in known):
            raise unknown("option", strange[0], names, where=self.name, instead="{}=...")
        starred = ("VAR_POSITIONAL", "VAR_KEYWORD")
        needed = [p.name for p in known if p.default is p.empty and p.kind.name not in starred]
        missing = [name for name in needed if name not in self._fixed_options()]
        if missing:
            instead = f"{missing[0]}=VALUE"
            raise BadInput(f"The constructor needs {missing[0]}", where=self.name, instead=instead)

    def _names(self) -> dict[str, Any]:
        """The constructor's arguments with their defaults."""
        try:
            optimizer = self.cls([new_parameter(ONES)], **self._fixed_options())
        except Exception as error:
            instead = "name=value, for an argument that it needs"
            raise BadInput(
                f"{self.name} cannot be constructed", where=error_text(error), instead=instead
            ) from error
        known = list(inspect.signature(self.cls).parameters.values())[1:]
        more = optimizer.defaults if any(p.kind is p.VAR_KEYWORD for p in known) else {}
        return {**more, **{p.name: p.default for p in known}}

    def _accepts(self, name: str) -> bool:
        """Whether the class has that option and accepts the trial value."""
        try:
            self.make([new_parameter(ONES)], **{name: TRIAL_VALUES[name]})
        except Exception:
            return False
        return bool(self.class_options({name: TRIAL_VALUES[name]}))

    def _call_style(self) -> tuple[str, Exception | None]:
        """The kind of call that its step accepts, and the exception if it accepts none."""
        first: Exception | None = None
        for self.call_style in ("dense", "sparse", "closure"):
            try:
                self.path(ONES, (ONES, ONES))
                return self.call_style, None
            except Exception as error:
                first = first or error
        return "dense", first

    def _fixed_options(self) -> dict[str, Any]:
        """The constructor's arguments in every test."""
        return {**self.base, **self.options}

    def class_options(self, want: Mapping[str, Any]) -> dict[str, Any]:
        """Options by the rules' names as the class's own, without unknown ones and the user's."""
        own = {name: value for name, value in want.items() if self._fits(name, value)}
        betas = self.names.get("betas")
        known = dict(zip(BETAS, betas, strict=False)) if isinstance(betas, tuple | list) else {}
        if any(name in known for name in want):
            own["betas"] = tuple(want.get(name, value) for name, value in known.items())
        return {name: value for name, value in own.items() if name not in self.options}

    def _fits(self, name: str, value: object) -> bool:
        return name in self.names and (
            name == "lr" or isinstance(value, bool) or number(self.names[name]) is not None
        )

    def make(self, params: Iterable[Any], **want: Any) -> Optimizer:
        """A new optimizer with these options, as far as the class has them."""
        optimizer = self.cls(params, **{**self._fixed_options(), **self.class_options(want)})
        # schedule-free optimizers require it before the first step
        if callable(switch := getattr(optimizer, "train", None)):
            switch()
        return optimizer

    def step(self, optimizer: Optimizer, pairs: Sequence[tuple[Tensor, Tensor | None]]) -> None:
        """Step once with copies of these gradients."""
        for p, g in pairs:
            p.grad = None if g is None else g.clone()
            if p.grad is not None and self.call_style == "sparse":
                p.grad = p.grad.to_sparse(1)
        if self.call_style != "closure":
            optimizer.step()
            return

        def closure() -> Tensor:
            for p, g in pairs:
                p.grad = None if g is None else g.clone()
            return torch.stack([(p.detach() * g).sum() for p, g in pairs if g is not None]).sum()

        optimizer.step(closure)  # pyright: ignore

    def read(self, optimizer: Optimizer, want: Mapping[str, Any]) -> dict[str, float]:
        """The numerical options of an optimizer by name, with betas as single numbers."""
        options = {**self.names, **self._fixed_options(), **self.class_options(want)}
        group = {**options, **optimizer.defaults, **optimizer.param_groups[0]}
        betas = group.get("betas")
        named: dict[str, Any] = (
            dict(zip(BETAS, betas, strict=False)) if isinstance(betas, tuple | list) else {}
        )
        if isinstance(group.get("eps"), tuple | list):
            named |= dict(zip(("eps1", "eps2"), group["eps"], strict=False))
        numbers = {name: number(value) for name, value in {**group, **named}.items()}
        return {name: value for name, value in numbers.items() if value is not None}

    def path(
        self,
        x: Tensor,
        gradients: Iterable[Tensor],
        want: Mapping[str, Any] = {},
        factors: Sequence[float] = (),
    ) -> Path:
        """The path of one parameter.

        Args:
            x: the start.
            gradients: one per step, like x.
            want: options by the rules' names.
            factors: factor of lr per step, as a scheduler sets it; 1 by default.
        """
        p = new_parameter(x)
        optimizer = self.make([p], **want)
        numbers, points, rates = self.read(optimizer, want), [p.detach().clone()], []
        peak = numbers.get("lr", 0.0)
        for t, g in enumerate(gradients):
            if factors and "lr" in numbers:
                for group in optimizer.param_groups:
                    group["lr"] = peak * factors[t]
            rates.append(peak * (factors[t] if factors else 1.0))
            self.step(optimizer, [(p, g.to(p.dtype))])
            points.append(p.detach().clone())
        return Path(torch.stack(points), numbers, rates)

    def moves(
        self, gradients: Sequence[float], want: Mapping[str, Any] = {}, start: float = 0.0
    ) -> list[float]:
        """The decrease of an element per step, over lr, for equal elements and equal gradients."""
        path = self.path(start * ONES, (g * ONES for g in gradients), want)
        finite(path.points)
        decreases = -path.points[:, 0, 0].diff()
        pairs = zip(decreases, path.rates, strict=True)
        return [float(decrease) / (rate or 1.0) + 0.0 for decrease, rate in pairs]


def finite(points: Tensor) -> Tensor:
    """The points of a path.

    Raises:
        Unmeasured: the weights became nan or infinite.
    """
    steps = (~torch.isfinite(points)).flatten(1).any(dim=1).nonzero()
    if len(steps):
        raise Unmeasured(f"the weights are nan or infinite after step {int(steps[0])}")
    return points


def new_parameter(x: Tensor) -> nn.Parameter:
    """A parameter with memory of its own."""
    return nn.Parameter(x.detach().clone())


def number(value: object) -> float | None:
    """A float if the value is a single number, else None; bools are not numbers."""
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return float(value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def error_text(error: BaseException) -> str:
    """The type and the message of an exception, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def with_seed(call: Callable[[], Any]) -> Any:
    """The result of a call with a fixed seed; torch's random state is restored."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return call()
