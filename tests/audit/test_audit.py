"""Audits: every class is recognized, and faults planted in a plain Adam are named with their
numbers.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

import betaplane.optim
from betaplane.audit import audit
from betaplane.audit.audit import PROBES
from betaplane.audit.black_box import BlackBox
from betaplane.audit.identify import FLOAT32_ERROR, Candidate, match
from betaplane.errors import BadInput
from betaplane.rules import ALL


def matched(kind: type, **options: Any) -> Candidate:
    *_, found = match(BlackBox(kind, options))
    return found[0]


def asked(kind: type, what: str, **options: Any) -> Any:
    return PROBES[what](BlackBox(kind, options))


# ---- what is what

QUICK = {"torch.Adafactor", "betaplane.LaProp"}
NAMES = ("SGD", "Adagrad", "RMSprop", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Adafactor")
TORCH = [getattr(torch.optim, name) for name in NAMES]
OURS = [getattr(betaplane.optim, rule.__name__) for rule in ALL]
CLASSES = {f"torch.{kind.__name__}": kind for kind in TORCH} | {
    f"betaplane.{kind.__name__}": kind for kind in OURS
}
each = [
    pytest.param(kind, id=name, marks=[] if name in QUICK else [pytest.mark.slow])
    for name, kind in CLASSES.items()
]


@pytest.mark.parametrize("kind", each)
def test_every_optimizer_is_identified_by_its_name(kind: type) -> None:
    found = matched(kind)
    assert found.kind.__name__ == kind.__name__
    assert found.error < FLOAT32_ERROR
    assert (found.betas, found.decay) == ("as named", "")
    torchs = (
        {"floor": "root", "eps1": torch.finfo(torch.float64).eps}
        if kind.__name__ == "Adafactor"
        else {}
    )
    assert found.options() == torchs


VARIANTS = {
    "amsgrad": (torch.optim.Adam, {"amsgrad": True}, "AMSGrad", {}),
    "masked": (
        betaplane.optim.Adam,
        {"cautious": "paper", "clip": 1.0},
        "Adam",
        {"cautious": "paper", "clip": 1.0},
    ),
    "nadam": (betaplane.optim.NAdam, {"momentum": "single"}, "NAdam", {"momentum": "single"}),
    "eps": (betaplane.optim.AdamW, {"eps_at": "root"}, "AdamW", {"eps_at": "root"}),
    "first": (
        betaplane.optim.Yogi,
        {"starts": "both", "debias": "none"},
        "Yogi",
        {"starts": "both", "debias": "none"},
    ),
    "decay": (
        betaplane.optim.AdamW,
        {"decay": "independent", "peak_lr": 0.05},
        "AdamW",
        {"decay": "independent"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_variants_are_distinguished(name: str) -> None:
    kind, options, rule, dialect = VARIANTS[name]
    found = matched(kind, **options)
    assert found.error < 1e-9
    assert (found.kind.__name__, found.options()) == (rule, dialect)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ASGD", "Adadelta", "LBFGS", "Muon", "Rprop"])
def test_unknown_rule_is_not_identified(name: str) -> None:
    found = audit(getattr(torch.optim, name))
    assert found.rule is None
    assert found["rule"].trouble
    assert found["rule"].finding.startswith(("no published rule; nearest is ", "none of the "))


# ---- planted faults


class Plain(torch.optim.Optimizer):
    """AdamW by the letter; each fault below replaces one of its pieces."""

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.update(p, p.grad, self.state[p], group)

    def update(self, p: Tensor, g: Tensor, s: dict[str, Any], group: dict[str, Any]) -> None:
        (beta1, beta2), lr = self.read(group["betas"]), group["lr"]
        m, v = (s.setdefault(name, torch.zeros_like(p)) for name in ("m", "v"))
        t = self.count(s)
        m.lerp_(g, 1 - beta1)
        v.lerp_(self.square(g), 1 - beta2)
        c1, c2 = self.seen(beta1, t), self.seen(beta2, t)
        self.move(p, -lr * (m / c1) / self.root(v / c2, group["eps"]), lr, group["weight_decay"])

    def read(self, betas: tuple[float, float]) -> tuple[float, float]:
        return betas

    def count(self, s: dict[str, Any]) -> int:
        s["t"] = s.get("t", 0) + 1
        return s["t"]

    def square(self, g: Tensor) -> Tensor:
        return g * g

    def seen(self, beta: float, t: int) -> float:
        return 1 - beta**t

    def root(self, v_hat: Tensor, eps: float) -> Tensor:
        return v_hat.sqrt() + eps

    def move(self, p: Tensor, u: Tensor, lr: float, weight_decay: float) -> None:
        p.mul_(1 - lr * weight_decay).add_(u)


class EpsInside(Plain):
    def root(self, v_hat: Tensor, eps: float) -> Tensor:
        return (v_hat + eps).sqrt()


class Swapped(Plain):
    def read(self, betas: tuple[float, float]) -> tuple[float, float]:
        return betas[1], betas[0]


class Uncorrected(Plain):
    def seen(self, beta: float, t: int) -> float:
        return 1.0


class DecayAfter(Plain):
    def move(self, p: Tensor, u: Tensor, lr: float, weight_decay: float) -> None:
        p.add_(u).mul_(1 - lr * weight_decay)


class DecayWithoutLr(Plain):
    def move(self, p: Tensor, u: Tensor, lr: float, weight_decay: float) -> None:
        p.mul_(1 - weight_decay).add_(u)


class Overwriting(Plain):
    def square(self, g: Tensor) -> Tensor:
        return g.mul_(g)


class OneCount(Plain):
    def count(self, s: dict[str, Any]) -> int:
        self.steps = getattr(self, "steps", 0) + (
            s is self.state[self.param_groups[0]["params"][0]]
        )
        return self.steps


class HiddenFloor(Plain):
    def root(self, v_hat: Tensor, eps: float) -> Tensor:
        return v_hat.sqrt() + max(eps, 1e-6)


class Raw(Plain):
    """Walks memory from the parameter's first number on, as some kernels do."""

    def move(self, p: Tensor, u: Tensor, lr: float, weight_decay: float) -> None:
        p.as_strided((p.numel(),), (1,)).add_(u.flatten())


class Forgetful(Plain):
    def __getstate__(self) -> dict[str, Any]:
        kept = super().__getstate__()
        return {**kept, "param_groups": [{**group, "lr": 1e-3} for group in kept["param_groups"]]}


def test_plain_class_is_identified_as_adamw() -> None:
    found = matched(Plain)
    assert (found.kind.__name__, found.options()) == ("AdamW", {})
    assert found.error < 1e-12


MATCHED = {
    EpsInside: ("AdamW", {"eps_at": "root"}, "as named", ""),
    Swapped: ("AdamW", {}, "swapped", ""),
    Uncorrected: ("AdamW", {"debias": "none"}, "as named", ""),
    DecayAfter: ("AdamW", {}, "as named", "after decoupled"),
    DecayWithoutLr: ("AdamW", {}, "as named", "before fixed"),
}


@pytest.mark.parametrize("kind", MATCHED, ids=lambda kind: kind.__name__)
def test_planted_variants_are_matched(kind: type) -> None:
    found = matched(kind)
    assert found.error < 1e-9
    assert (found.kind.__name__, found.options(), found.betas, found.decay) == MATCHED[kind]


SEEN: dict[str, tuple[type, str, str, float | None, bool]] = {
    "plain eps": (Plain, "place of eps", "next to the root, after any correction", 1.0, False),
    "eps inside": (EpsInside, "place of eps", "inside the root: acts as sqrt(eps)", 0.1, False),
    "its effect": (EpsInside, "effective eps", "at step 1, 1e+04 times the option eps=1e-08", 1e-4, False),
    "floor": (HiddenFloor, "floor of eps", "hidden: at eps=1e-30 something still acts as", 1e-6, True),
    "no floor": (Plain, "floor of eps", "none: eps=1e-30 takes effect", 1e-30, False),
    "correction": (Plain, "bias correction", "of both moments", None, False),
    "no correction": (Uncorrected, "bias correction", "of neither moment", None, False),
    "first step": (Uncorrected, "first step", "of lr, whatever the size", 0.1 / 0.001**0.5, False),
    "decay": (Plain, "weight decay", "decoupled, times lr", 1e-4, False),
    "decay without lr": (DecayWithoutLr, "weight decay", "ignores lr and its schedule", 1e-3, True),
    "l2": (torch.optim.Adam, "weight decay", "l2: it is added to the gradient", None, False),
    "of sgd": (torch.optim.SGD, "weight decay", "l2 or decoupled, which are the same here", 1e-4, False),
    "before": (Plain, "order of decay", "before the step", 1.0, False),
    "after": (DecayAfter, "order of decay", "after the step, which it shrinks to", 0.975, False),
    "gradients": (Plain, "gradients", "left alone", 0.0, False),
    "overwritten": (Overwriting, "gradients", "overwritten by step()", None, True),
    "own count": (Plain, "late gradient", "each parameter counts its own steps", 1.0, False),
    "one count": (OneCount, "late gradient", "steps are counted for all together", 0.4821, True),
    "beta2": (Uncorrected, "beta2=1.5", "accepted in silence; share of weights that are nan", 1.0, True),
    "beta2 of torch": (torch.optim.Adam, "beta2=1.5", "refused: ValueError: Invalid beta parameter", None, False),
    "beta1": (Plain, "beta1=-0.1", "accepted in silence", None, True),
    "lr": (betaplane.optim.Lion, "lr=-1", "refused: BadInput: lr is out of range", None, False),
    "bfloat16": (torch.optim.AdamW, "bfloat16 weights", "do not move; float64 weights move 0.01", 0.0, True),
    "state": (torch.optim.AdamW, "state of bfloat16", "bfloat16; bytes per element", 4.0, False),
    "state of adafactor": (torch.optim.Adafactor, "state of float32", "float32; bytes", 4 * 38 / 360, False),
    "complex": (Plain, "complex weights", "not as pairs of real ones", None, True),
    "complex of torch": (torch.optim.AdamW, "complex weights", "as pairs of real ones", 0.0, False),
    "complex refused": (torch.optim.Adafactor, "complex weights", "refused: RuntimeError: Adafactor", None, False),
    "layouts": (Plain, "other layouts", "as contiguous ones", 0.0, False),
    "wrong layouts": (Raw, "other layouts", "a gappy one: memory outside of it is written", None, True),
    "copies": (Plain, "copies", "deepcopy, pickle, state_dict: continue like the original", None, False),
    "lost": (Forgetful, "copies", "deepcopy, pickle: lost: lr; state_dict: continue", None, True),
    "at rest": (torch.optim.NAdam, "zero gradient, lr=0", "weights stay", 0.0, False),
    "not at rest": (DecayWithoutLr, "zero gradient, lr=0", "weights stay", 0.0, False),
    "upwards": (torch.optim.RAdam, "maximize", "as minimizing the opposite", 0.0, False),
    "no upwards": (Plain, "maximize", "there is no such option", None, False),
    "no bound": (torch.optim.SGD, "largest step", "of lr, under a gradient 1e6 times those before: no", 1e3, False),
    "lion": (betaplane.optim.Lion, "largest step", "of lr, under ", 1.0, False),
}  # fmt: skip


@pytest.mark.parametrize("name", SEEN)
def test_probe_has_the_expected_finding(name: str) -> None:
    kind, what, text, number, trouble = SEEN[name]
    found = asked(kind, what)
    assert found.text.startswith(text)
    assert found.trouble == trouble
    if number is not None:
        assert found.number == pytest.approx(number, rel=0.01)


def test_a_late_first_step_in_closed_form() -> None:
    """With a count of 11 instead of 1: 0.1 / (1 - 0.9^11) over the root of 0.001 / (1 - 0.999^11)."""
    right = 0.1 / (1 - 0.9**11) / (0.001 / (1 - 0.999**11)) ** 0.5
    assert asked(OneCount, "late gradient").number == pytest.approx(right, rel=1e-6)


def test_decay_is_distinguished_from_other_motion() -> None:
    """Yogi's m starts at 1e-6 in optax's form, so that x moves at zero gradient."""
    found = asked(betaplane.optim.Yogi, "weight decay", starts="both", decay="decoupled")
    assert found.text.startswith("decoupled, times lr")
    assert found.number == pytest.approx(1e-4, rel=1e-6)


# ---- the audit as a whole


class Broken(Plain):
    def update(self, p: Tensor, g: Tensor, s: dict[str, Any], group: dict[str, Any]) -> None:
        raise RuntimeError("no way\nforward")


class Half(Plain):
    """Raises for some of the questions."""

    def update(self, p: Tensor, g: Tensor, s: dict[str, Any], group: dict[str, Any]) -> None:
        if p.dtype == torch.bfloat16:
            raise NotImplementedError("no bfloat16")
        super().update(p, g, s, group)


def test_a_step_that_raises_is_a_finding() -> None:
    found = audit(Broken)
    assert found.rule is None
    assert found["step"].finding == "raises RuntimeError: no way forward"
    assert found["step"].trouble


class NoDecay(Plain):
    def move(self, p: Tensor, u: Tensor, lr: float, weight_decay: float) -> None:
        if weight_decay:
            raise NotImplementedError("no decay yet")
        p.add_(u)


def test_an_option_that_raises_is_a_finding() -> None:
    found = audit(NoDecay)
    assert found.nearest is None
    assert found["rule"].finding == "raises under weight decay: NotImplementedError: no decay yet"
    assert found["order of decay"].finding == "raises NotImplementedError: no decay yet"


def test_differences_from_every_published_form_are_reported() -> None:
    found = audit(DecayAfter)
    assert (found.rule, found.nearest, found.unlike) == (None, "AdamW", ("decay after the step",))
    assert found["rule"].finding == "AdamW, decay after the step; off by"
    assert found["rule"].trouble


def test_a_whole_audit() -> None:
    calls, random = [], torch.random.get_rng_state()
    found = audit(Half, lambda done, whole: calls.append((done, whole)), lr=0.01)
    assert (found.name, found.options) == (f"{__name__}.Half", {"lr": 0.01})
    assert (found.rule, found.nearest, found.dialect) == ("AdamW", "AdamW", {})
    assert found.error is not None
    assert found.error < 1e-12
    assert [row.what for row in found.rows] == ["rule", *PROBES]
    assert found["rule"].finding == "AdamW; off by"
    assert found["state of bfloat16"].finding == "raises NotImplementedError: no bfloat16"
    assert found["lr=-1"].finding == "no such option, or it is set"
    assert calls == sorted(calls)
    assert calls[-1][0] == calls[-1][1]
    payload = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert payload["rows"][0] == {
        "what": "rule",
        "finding": "AdamW; off by",
        "number": found.error,
        "trouble": False,
    }
    assert torch.equal(torch.random.get_rng_state(), random)


class Needy(Plain):
    def __init__(self, params, gamma, lr=1e-3) -> None:
        super().__init__(params, lr)


class Choosy(Plain):
    def __init__(self, params, lr=1e-3) -> None:
        raise AssertionError("not on a Sunday")


ROWS = {
    "no optimizer": (
        torch.nn.Linear,
        {},
        "This is not an optimizer class: got 'Linear'; expected a subclass of torch",
    ),
    "an object": (3, {}, "This is not an optimizer class: got 'int'"),
    "needs": (Needy, {}, "The constructor needs gamma (Needy). Try: gamma=VALUE"),
    "unknown": (
        Plain,
        {"beta": 1},
        "Unknown option 'beta'. Did you mean 'betas'? Choose one of: lr, betas, eps, weight_decay "
        "(Plain). Try: betas=...",
    ),
    "refused": (
        torch.optim.Adam,
        {"lr": -1},
        "Adam cannot be constructed (ValueError: Invalid learning rate: -1).",
    ),
    "raises": (Choosy, {}, "Choosy cannot be constructed (AssertionError: not on a Sunday)."),
}


@pytest.mark.parametrize("name", ROWS)
def test_bad_input(name: str) -> None:
    kind, options, text = ROWS[name]
    with pytest.raises(BadInput) as caught:
        audit(kind, **options)
    assert str(caught.value).startswith(text)


def test_progress_that_is_no_function_is_bad_input() -> None:
    with pytest.raises(
        BadInput, match=r"progress is not callable: got 'bar'; expected a function \(audit"
    ):
        audit(torch.optim.SGD, "bar")
