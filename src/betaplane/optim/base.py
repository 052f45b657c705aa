"""What an optimizer does around its rule: formats of state and weights, clipping by norm, an
average, zeroing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from betaplane.errors import BadInput, BadType
from betaplane.optim.argument_types import check_group
from betaplane.optim.dispatch import check_path, chosen, step_each
from betaplane.optim.gradient_norm import norm
from betaplane.optim.group_keys import check_keys
from betaplane.optim.rule_from_group import set_peak
from betaplane.optim.state.labels import LABEL, contents_under
from betaplane.optim.state.reencode import portable
from betaplane.optim.step.reference import STATE
from betaplane.optim.step.step_spec import AVERAGE, StepSpec, StepValues, check_rounding
from betaplane.optim.storage_formats import BLOCK, SCALE, check_storage, row
from betaplane.optim.validation import check_floating, check_lr, check_nonfinite, explained
from betaplane.rules import Rule
from betaplane.tensors.dtensor import local_tensor

GROUP = {"storage": "parameter", "rounding": "nearest", "average": None}
OWN = {"max_norm": None, "zero": False, "nonfinite": "pass", "path": "auto"}


class Norms(NamedTuple):
    """Lengths measured in a step."""

    gradient: float  # of all gradients together, before clipping
    update: float  # of all updates together


class BaseOptimizer:
    """Options that every optimizer here has, beside its rule's.

    Args:
        storage: format of the state: "parameter", the parameter's dtype, as in torch; "float32";
            "bfloat16", with stochastic rounding; "8bit", in blocks of 256 with a scale each,
            2.03 bytes per parameter for Adam's two moments; "dynamic 8bit", the same with
            bitsandbytes' map. Tensors of fewer than 4,096 elements are not stored in 8 bits.
        rounding: how bfloat16 weights take updates smaller than their spacing: "nearest" loses
            them; "stochastic" rounds stochastically, right on average; "kahan" stores the
            rounding error, in two more bytes per parameter.
        average: decay rate of a moving average of the weights, in [0, 1), such as 0.999, stored in
            the state as "average"; see `averaged`. None for no average.
        max_norm: largest norm of all gradients together, > 0; larger gradients are scaled down for
            the step, and .grad is not changed. `norms` then has the norms. None for no limit.
        zero: whether the step sets gradients to zero, those that it skips too.
        nonfinite: what happens to a gradient that is not finite: "pass" uses it, "raise" raises an
            error that names the parameter, "skip" skips that parameter in this step.
        path: how the rule's operations run: "eager", one after the other; "compiled", as one pass
            over memory, after half a second of compiling at the first step; "auto" compiles from
            65,536 elements on.
    """

    param_groups: list[dict[str, Any]]
    state: Any
    rule: ClassVar[type[Rule]]
    norms: Norms | None = None  # of the last step, where max_norm is set
    _zeroes: bool = False  # whether the passes of this step set gradients to zero

    def _around(self, max_norm: float | None, zero: bool, nonfinite: str, path: str) -> None:
        """Take the options that hold for all groups."""
        self.max_norm, self.zero = _checked("max_norm", max_norm, 0, float("inf")), bool(zero)
        self.nonfinite, self.path = check_nonfinite(nonfinite), check_path(path)

    def _kept(self) -> dict[str, Any]:
        """What copying and pickling keep of it."""
        return {name: getattr(self, name) for name in OWN}

    def rule_of(self, group: Mapping[str, Any]) -> Any:
        """The rule that a group's options ask for."""
        raise NotImplementedError

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, checked as torch does and as the rule does.

        Args:
            param_group: {"params": parameters, ...options}; keys of your own are kept.

        Raises:
            BadInput: for what is no group, for parameters that are none or are in another group, and for an option that
                is misspelled, of the wrong type or out of range. The optimizer is as it was then.
        """
        check_group(type(self), param_group)
        check_keys(param_group, type(self))
        try:
            super().add_param_group(param_group)  # pyright: ignore
        except ValueError as error:
            raise explained(error, type(self).__name__) from None
        self._check_last()

    def _check_last(self) -> None:
        """Check the last group, just added, and take it away if it cannot be stepped."""
        group = self.param_groups[-1]
        try:
            check_lr(group["lr"])
            set_peak(group)
            check_floating(group["params"])
            self._check_options(group)
        except BaseException:
            self.param_groups.pop()
            raise

    def _check_options(self, group: Mapping[str, Any]) -> None:
        """Raise BadInput for an option out of range, or one that a group's parameters do not have."""
        self.rule_of(group)
        check_around(group)

    def _path_of(self, group: Any) -> str:
        """Who steps a group's parameters."""
        raise NotImplementedError

    def __repr__(self) -> str:
        paths = list(dict.fromkeys(map(self._path_of, self.param_groups)))
        own = [
            f"{name}: {getattr(self, name)}" for name in ("max_norm", "zero") if getattr(self, name)
        ]
        return "\n".join([super().__repr__()[:-1], *own, f"path: {', '.join(paths)}", ")"])

    def form_of(self, group: Mapping[str, Any]) -> StepSpec:
        """What is done to the parameters of a group."""
        measures = self.max_norm is not None
        return StepSpec(
            self.rule_of(group),
            maximize=group.get("maximize", False),
            storage=group.get("storage", "parameter"),
            rounding=group.get("rounding", "nearest"),
            scaled=measures,
            average=group.get("average") is not None,
            zero=self._zeroes,
            norms=measures,
        )

    def state_dict(self) -> dict[str, Any]:
        """The state as torch has it, plain tensors and numbers; see
        torch.optim.Optimizer.state_dict.

        Returns:
            {"state": by parameter, "param_groups": options}. Of a state in 8 bits, codes and scales; but float32 where
            it is sharded otherwise than by rows of 32 numbers or more, for then its blocks are those of this process.
            Under "betaplane" each group says which rule saved it and what each tensor of its state contains; torch's
            classes carry that along and do not read it.
        """
        state_dict = portable(self, super().state_dict(), getattr(self, "words", STATE))  # pyright: ignore
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            saved[LABEL] = {"rule": self._kind(group).__name__, "state": self.contents_of(group)}
        return state_dict

    def contents_of(self, group: Mapping[str, Any]) -> dict[str, str]:
        """What each tensor of the state contains, by state key, under a group's options."""
        words = getattr(self, "words", STATE)
        return {
            words.get(name, name): text
            for name, text in contents_under(self._kind(group), group).items()
        }

    def _kind(self, group: Mapping[str, Any]) -> type[Rule]:
        """The rule's class."""
        return self.rule

    @contextmanager
    def _measured(self) -> Iterator[None]:
        """Around a step: the length of the gradients before it, what they are scaled by, the length
        of its update.
        """
        self._scale, self._squared = 1.0, 0.0
        if self.max_norm is None:
            yield
            return
        length = norm(
            [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        )
        scale = self.max_norm / (length + 1e-6)
        # as torch's clip_grad_norm_: nan stays nan, which min() would lose
        self._scale = 1.0 if scale > 1 else scale
        yield
        self.norms = Norms(length, self._squared**0.5)

    def coded(
        self, p: Tensor, group: Mapping[str, Any], word: str
    ) -> tuple[Tensor, Tensor, int] | None:
        """How a tensor of p's state is kept in 8 bits; None where it is not.

        Args:
            p: the parameter.
            group: its group.
            word: the tensor's name in the state.

        Returns:
            The 256 numbers that its codes stand for, over their block's scale; the scales, one for each 256 numbers;
            how many numbers lie between two places where blocks start anew.

        Example:
            >>> from betaplane.optim import AdamW
            >>> p = torch.nn.Parameter(torch.ones(64, 64))
            >>> optimizer = AdamW([p], storage="8bit")
            >>> p.grad = torch.ones(64, 64)
            >>> optimizer.step()
            >>> table, scale, length = optimizer.coded(p, optimizer.param_groups[0], "exp_avg_sq")
            >>> code = optimizer.state[p]["exp_avg_sq"][0, 0].int()
            >>> round((table[code] * scale[0, 0]).item(), 6), length
            (0.001, 64)
        """
        held, names = (
            self.state.get(p, {}),
            {word: name for name, word in getattr(self, "words", STATE).items()},
        )
        scale = held.get(word + SCALE)
        if scale is None:
            return None
        kept = local_tensor(held[word])
        asked = self.form_of(group).kept(p, names.get(word, word), held[word])
        table = asked.decode(torch.arange(BLOCK, dtype=torch.uint8), torch.ones(1, 1))
        return table.to(kept.device), scale, row(kept.shape)

    def _pass(
        self,
        i: int,
        group: Mapping[str, Any],
        params: list[Tensor],
        states: Mapping[Tensor, Any],
        words: Mapping[str, str] = STATE,
    ) -> None:
        """Step parameters of group i by its rule."""
        if self._again(i, {**group, "params": params}):
            return
        known = self.__dict__.setdefault("_swept", {})
        form, path = self.form_of(group), chosen(self.path, params)
        moved, known[i] = step_each(
            form, params, states, self._numbers(group), path=path, words=words
        )
        self._squared += moved

    def _again(self, i: int, group: Mapping[str, Any]) -> bool:
        """Step group i by machine code as at the step before, if all is as it was; whether it was
        done.
        """
        lists = self.__dict__.get("_swept", {}).get(i)
        if lists is None or self.path == "eager":
            return False
        form = self.form_of(group)
        if not lists.fits(form, group["params"], self.state):
            return False
        self._squared += lists.step(form.rule, self._numbers(group))
        return True

    def _numbers(self, group: Mapping[str, Any]) -> StepValues:
        return StepValues(group["lr"], self._scale, group.get("average") or 0.0)

    @contextmanager
    @torch.no_grad()
    def averaged(self) -> Iterator[None]:
        """While it lasts, parameters have their running average's values, where one is kept.

        Raises:
            BadInput: no average is kept.

        Example:
            >>> from betaplane.optim import AdamW
            >>> p = torch.nn.Parameter(torch.tensor([1.0]))
            >>> optimizer = AdamW([p], lr=0.1, average=0.5, weight_decay=0.0)
            >>> p.grad = torch.ones(1)
            >>> optimizer.step()
            >>> with optimizer.averaged():
            ...     inside = p.item()
            >>> round(p.item(), 4), round(inside, 4)
            (0.9, 0.95)
        """
        pairs = [(p, held[AVERAGE]) for p, held in self.state.items() if AVERAGE in held]
        if not pairs:
            raise BadInput(
                "No average of the weights is kept",
                where=type(self).__name__,
                instead="average=0.999",
            )
        weights = [p.detach().clone() for p, _ in pairs]
        for p, average in pairs:
            p.copy_(average)
        try:
            yield
        finally:
            for (p, _), weight in zip(pairs, weights, strict=True):
                p.copy_(weight)


def check_around(group: Mapping[str, Any]) -> None:
    """Raise BadInput where one of a group's options in GROUP is unknown or out of range."""
    check_storage(group.get("storage", "parameter"))
    check_rounding(group.get("rounding", "nearest"))
    _checked("average", group.get("average"), 0, 1)
    storage = group.get("storage", "parameter")
    for p in group["params"] if storage != "parameter" else ():
        if p.is_complex():
            where, instead = (
                f"a {p.dtype} parameter of shape {tuple(p.shape)}",
                'storage="parameter"',
            )
            text = "The state of complex parameters is kept in their own dtype only"
            raise BadInput(text, value=storage, allowed="'parameter'", where=where, instead=instead)


def _checked(name: str, value: float | None, low: float, high: float) -> float | None:
    given = None if isinstance(value, Tensor) and value.numel() != 1 else value
    if value is not None and not isinstance(given, Real | Tensor):
        raise BadType(
            f"{name} is not a number",
            value=value,
            allowed="a number or None",
            where="the optimizer",
        )
    if value is not None and not (low < value < high or (value == low == 0 and high == 1)):
        text = f"({low}, {high})" if high != 1 else "[0, 1)"
        instead = "average=0.999" if name == "average" else "max_norm=1.0"
        raise BadInput(
            f"{name} is out of range",
            value=value,
            allowed=text,
            where="the optimizer",
            instead=instead,
        )
    return value
