"""An optimizer's class as a black box: make it, step it, read its options; nothing here looks
inside.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from betaplane.errors import BadInput

BETAS = ("beta1", "beta2", "beta3")
# a matrix: some rules take nothing else; its sides lie between 16 and 128, where libraries factor
SHAPE = (18, 20)
WHOLE = torch.ones(SHAPE, dtype=torch.float64)
# with neither the sides nor the number of elements of the first
OTHER = torch.ones((24, 19), dtype=torch.float64)
TRIED = {
    "lr": 0.05,
    "eps": 0.05,
    "weight_decay": 0.25,
    "beta1": 0.8,
    "beta2": 0.95,
    "beta3": 0.97,
    "maximize": True,
}


class Unmeasured(Exception):
    """What a probe measures is nan or infinite."""


class Path(NamedTuple):
    """Where an optimizer took a parameter."""

    points: Tensor  # (steps + 1, ...), the first is the start
    numbers: dict[str, float]  # the options it had, by the rules' names
    rates: list[float]  # lr of each step


class BlackBox:
    """A class with the options that a user gave it.

    Args:
        cls: a subclass of torch.optim.Optimizer.
        options: constructor options by the class's own names; they are never overruled.

    Raises:
        BadInput: cls is no optimizer, needs more options, or refuses these.
    """

    def __init__(self, cls: type[Optimizer], options: Mapping[str, Any]) -> None:
        self.cls, self.options, self.base = cls, dict(options), {}
        self.name = getattr(cls, "__name__", type(cls).__name__)
        if not (isinstance(cls, type) and issubclass(cls, Optimizer)):
            allowed = "a subclass of torch.optim.Optimizer"
            raise BadInput(
                "This is no optimizer's class", value=self.name, allowed=allowed, where="audit"
            )
        self._check()
        self.names = self._names()
        self.settable = {word for word in TRIED if self._takes(word)}
        self.manner, self.broken = self._manner()

    def _check(self) -> None:
        """Raise BadInput unless the options fit the constructor; a learning rate that it asks for
        is given.
        """
        known = list(inspect.signature(self.cls).parameters.values())[1:]
        if "lr" in [p.name for p in known if p.default is p.empty]:
            self.base = {"lr": 1e-3}
        unknown = [name for name in self.options if name not in [p.name for p in known]]
        if unknown and not any(p.kind is p.VAR_KEYWORD for p in known):
            allowed, value = ", ".join(p.name for p in known), self.options[unknown[0]]
            raise BadInput(
                f"There is no option {unknown[0]}", value=value, allowed=allowed, where=self.name
            )
        starred = ("VAR_POSITIONAL", "VAR_KEYWORD")
        needed = [p.name for p in known if p.default is p.empty and p.kind.name not in starred]
        missing = [name for name in needed if name not in self._given()]
        if missing:
            instead = f"--set {missing[0]}=VALUE"
            raise BadInput(f"The constructor needs {missing[0]}", where=self.name, instead=instead)

    def _names(self) -> dict[str, Any]:
        """The constructor's options with their defaults."""
        try:
            optimizer = self.cls([fresh(WHOLE)], **self._given())
        except Exception as error:
            instead = "--set name=value, for an option that it needs"
            raise BadInput(
                f"{self.name} cannot be made", where=told(error), instead=instead
            ) from error
        known = list(inspect.signature(self.cls).parameters.values())[1:]
        more = optimizer.defaults if any(p.kind is p.VAR_KEYWORD for p in known) else {}
        return {**more, **{p.name: p.default for p in known}}

    def _takes(self, word: str) -> bool:
        """Whether there is an option of that meaning, and it takes the value that tells dialects
        apart.
        """
        try:
            self.make([fresh(WHOLE)], **{word: TRIED[word]})
        except Exception:
            return False
        return bool(self.words({word: TRIED[word]}))

    def _manner(self) -> tuple[str, Exception | None]:
        """How its step wants to be called, and what it raised if no way is right."""
        first: Exception | None = None
        for self.manner in ("dense", "sparse", "closure"):
            try:
                self.path(WHOLE, (WHOLE, WHOLE))
                return self.manner, None
            except Exception as error:
                first = first or error
        return "dense", first

    def _given(self) -> dict[str, Any]:
        """What the constructor gets in any case."""
        return {**self.base, **self.options}

    def words(self, want: Mapping[str, Any]) -> dict[str, Any]:
        """Wishes by the rules' names as the class's own options; what it has not, or the user set,
        is left out.
        """
        found = {name: value for name, value in want.items() if self._fits(name, value)}
        betas = self.names.get("betas")
        known = dict(zip(BETAS, betas, strict=False)) if isinstance(betas, tuple | list) else {}
        if any(name in known for name in want):
            found["betas"] = tuple(want.get(name, value) for name, value in known.items())
        return {name: value for name, value in found.items() if name not in self.options}

    def _fits(self, name: str, value: object) -> bool:
        return name in self.names and (
            name == "lr" or isinstance(value, bool) or number(self.names[name]) is not None
        )

    def make(self, params: Iterable[Any], **want: Any) -> Optimizer:
        """A fresh optimizer with the options wanted, as far as the class has them."""
        optimizer = self.cls(params, **{**self._given(), **self.words(want)})
        # schedule-free ones refuse to step before
        if callable(switch := getattr(optimizer, "train", None)):
            switch()
        return optimizer

    def step(self, optimizer: Optimizer, pairs: Sequence[tuple[Tensor, Tensor | None]]) -> None:
        """One step with these gradients; the optimizer gets copies."""
        for p, g in pairs:
            p.grad = (
                None
                if g is None
                else g.clone().to_sparse(1)
                if self.manner == "sparse"
                else g.clone()
            )
        if self.manner != "closure":
            optimizer.step()
            return

        def closure() -> Tensor:
            for p, g in pairs:
                p.grad = None if g is None else g.clone()
            return torch.stack([(p.detach() * g).sum() for p, g in pairs if g is not None]).sum()

        optimizer.step(closure)  # pyright: ignore

    def read(self, optimizer: Optimizer, want: Mapping[str, Any]) -> dict[str, float]:
        """The numbers an optimizer was set to, by its own names, with betas spelt out."""
        said = {**self.names, **self._given(), **self.words(want)}
        group = {**said, **optimizer.defaults, **optimizer.param_groups[0]}
        betas = group.get("betas")
        named: dict[str, Any] = (
            dict(zip(BETAS, betas, strict=False)) if isinstance(betas, tuple | list) else {}
        )
        if isinstance(group.get("eps"), tuple | list):
            named |= dict(zip(("eps1", "eps2"), group["eps"], strict=False))
        found = {name: number(value) for name, value in {**group, **named}.items()}
        return {name: value for name, value in found.items() if value is not None}

    def path(
        self,
        x: Tensor,
        gradients: Iterable[Tensor],
        want: Mapping[str, Any] = {},
        factors: Sequence[float] = (),
    ) -> Path:
        """The path of one parameter.

        Args:
            x: where it starts.
            gradients: one a step, like x.
            want: options by the rules' names.
            factors: what lr is multiplied by at each step, as a scheduler does; 1 if left out.
        """
        p = fresh(x)
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
        """By how much a number falls at each step, over lr: all of the parameter's numbers are
        `start`, and so on.
        """
        path = self.path(start * WHOLE, (g * WHOLE for g in gradients), want)
        finite(path.points)
        fallen = -path.points[:, 0, 0].diff()
        return [
            float(fall) / (rate or 1.0) + 0.0 for fall, rate in zip(fallen, path.rates, strict=True)
        ]


def finite(points: Tensor) -> Tensor:
    """The points of a path.

    Raises:
        Unmeasured: the weights became nan or infinite.
    """
    wild = (~torch.isfinite(points)).flatten(1).any(dim=1).nonzero()
    if len(wild):
        raise Unmeasured(f"the weights are nan or infinite after step {int(wild[0])}")
    return points


def fresh(x: Tensor) -> nn.Parameter:
    """A parameter with memory of its own."""
    return nn.Parameter(x.detach().clone())


def number(value: object) -> float | None:
    """A float, of anything that is one number; None of the rest, True and False included."""
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return float(value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def told(error: BaseException) -> str:
    """What an optimizer raised, in its own words, as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def quietly(act: Callable[[], Any]) -> Any:
    """The act's result, with torch's random numbers seeded and put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return act()
