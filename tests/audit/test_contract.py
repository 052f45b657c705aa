"""What an audit says of groups, schedulers, closures, neighbors and nan is right, or "unknown"."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

import betaplane
from betaplane.audit.black_box import BlackBox, with_seed
from betaplane.audit.probes import Finding

# the function of that name shadows the module in the package
audits = import_module("betaplane.audit.audit")


class Adam(torch.optim.Optimizer):
    """Adam in a few lines, each of which a class below gets wrong."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: Any = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay=0.0,
    ):
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )
        self.shared: dict[Any, dict[str, Any]] = {}

    def options(self, group: dict[str, Any]) -> dict[str, Any]:
        return group

    def held(self, p: Tensor) -> dict[str, Any]:
        return self.state[p]

    def closed(self, closure: Any) -> Any:
        with torch.enable_grad():
            return None if closure is None else closure()

    def inverse(self, v: Tensor, eps: float) -> Tensor:
        return 1 / (v.sqrt() + eps)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = self.closed(closure)
        for group in self.param_groups:
            options = self.options(group)
            for p in (p for p in group["params"] if p.grad is not None):
                self.update(p, p.grad + options["weight_decay"] * p, options)
        return loss

    def update(self, p: Tensor, g: Tensor, options: dict[str, Any]) -> None:
        s, (beta1, beta2) = self.held(p), options["betas"]
        if not s:
            s.update(step=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
        s["step"] += 1
        s["m"].lerp_(g, 1 - beta1)
        s["v"].mul_(beta2).addcmul_(g, g, value=1 - beta2)
        m_hat, v_hat = s["m"] / (1 - beta1 ** s["step"]), s["v"] / (1 - beta2 ** s["step"])
        p.sub_(options["lr"] * m_hat * self.inverse(v_hat, options["eps"]))


class FirstGroup(Adam):
    def options(self, group):
        return self.param_groups[0]


class FirstLr(Adam):
    def options(self, group):
        return {**group, "lr": self.param_groups[0]["lr"]}


class Constructors(Adam):
    def options(self, group):
        return {**group, **self.defaults}


class ByShape(Adam):
    def held(self, p):
        return self.shared.setdefault(tuple(p.shape), {})


class BySize(Adam):
    def held(self, p):
        held = self.shared.setdefault(p.numel(), {})
        return {} if held and held["m"].shape != p.shape else held


class OneClock(Adam):
    def update(self, p, g, options):
        s = self.held(p)
        if not s:
            s.update(step=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
        if p is self.param_groups[0]["params"][0]:
            self.shared.setdefault("clock", {"t": 0})["t"] += 1
        s["step"] = self.shared["clock"]["t"] - 1
        super().update(p, g, options)


class OneNorm(Adam):
    def step(self, closure=None):
        grads = [
            p.grad for group in self.param_groups for p in group["params"] if p.grad is not None
        ]
        norm = torch.stack([g.norm() for g in grads]).norm() if grads else torch.tensor(1.0)
        for g in grads:
            g.div_(1 + norm)
        return super().step(closure)


class OneEstimate(Adam):
    """Multiplies every step by how many large gradients were seen so far, in all parameters
    together.
    """

    def update(self, p, g, options):
        seen = self.shared.setdefault("seen", {"n": 0})
        seen["n"] += int(g.abs().max() > 0.5) * (p.shape != (18, 20))
        super().update(p, g, {**options, "lr": options["lr"] * (1 + seen["n"])})


class NanAtZero(Adam):
    def inverse(self, v, eps):
        return v.rsqrt() + eps


class SquaredDecay(Adam):
    def step(self, closure=None):
        decays = [group["weight_decay"] for group in self.param_groups]
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    p.mul_(1 - group["lr"] * group["weight_decay"] ** 2 * 1e3)
                group["weight_decay"] = 0.0
            loss = super().step(closure)
        for group, decay in zip(self.param_groups, decays, strict=True):
            group["weight_decay"] = decay
        return loss


class Deaf(Adam):
    def closed(self, closure):
        return None


class Silent(Adam):
    def step(self, closure=None):
        super().step(closure)


class Gradless(Adam):
    def closed(self, closure):
        return None if closure is None else closure()


class Twice(Adam):
    def closed(self, closure):
        return super().closed(closure) if super().closed(closure) is not None else None


def found(kind: type, what: str) -> Finding:
    subject = with_seed(lambda: BlackBox(kind, {}))
    row = with_seed(lambda: audits._probe_row(what, audits.PROBES[what], subject))
    return Finding(row.finding, row.number, row.trouble)


ROWS = [
    (Adam, "groups", "each group uses its own lr, weight_decay, beta1, beta2, eps"),
    (Adam, "schedulers", "schedulers are followed: lr, weight_decay, beta1, beta2, eps"),
    (Adam, "neighbors", "each steps as it does alone"),
    (Adam, "closure", "called once, with gradients enabled; its loss is returned"),
    (Adam, "late gradient", "each parameter counts its own steps"),
    (Adam, "weight decay", "l2: it is added to the gradient, and normalized away with it"),
    (
        FirstGroup,
        "groups",
        "every group uses the first group's: lr, weight_decay, beta1, beta2, eps",
    ),
    (FirstGroup, "schedulers", "schedulers are followed"),
    (FirstLr, "groups", "every group uses the first group's: lr"),
    (Constructors, "groups", "groups have no effect on: lr, weight_decay, beta1, beta2, eps"),
    (
        Constructors,
        "schedulers",
        "schedulers have no effect: changed in the groups, ignored are lr, weight_decay",
    ),
    (ByShape, "neighbors", "state is shared by parameters of the same shape"),
    (ByShape, "late gradient", "each parameter counts its own steps"),
    (
        BySize,
        "neighbors",
        "state is shared by parameters of the same shape and of the same number of elements",
    ),
    (OneClock, "late gradient", "steps are counted for all together"),
    (OneEstimate, "late gradient", "unknown: parameters influence each other"),
    (OneNorm, "groups", "unknown: parameters influence each other"),
    (OneNorm, "neighbors", "parameters of any shape influence each other"),
    (NanAtZero, "weight decay", "unknown: the weights are nan or infinite after step 1"),
    (NanAtZero, "order of decay", "unknown: the weights are nan or infinite after step 1"),
    (NanAtZero, "zero gradient, lr=0", "unknown: the weights are nan or infinite after step 1"),
    (
        SquaredDecay,
        "weight decay",
        "of its own kind: at twice the weight_decay a step removes more, by the factor",
    ),
    (Deaf, "closure", "never called"),
    (Silent, "closure", "its loss is not returned"),
    (Gradless, "closure", "called with gradients disabled"),
    (Twice, "closure", "called 2 times in a step"),
]
RIGHT = ("each", "called once", "schedulers are followed", "l2")


@pytest.mark.parametrize(("kind", "what", "text"), ROWS, ids=lambda x: getattr(x, "__name__", None))
def test_findings_are_right(kind: type, what: str, text: str):
    finding = found(kind, what)
    assert finding.text.startswith(text)
    assert finding.trouble != finding.text.startswith(
        (*RIGHT, "unknown: parameters", "parameters", "of its own")
    )


NAMES = [
    name
    for name in torch.optim.__all__
    if isinstance(getattr(torch.optim, name), type) and name != "Optimizer"
]
EXPECTED = {  # each is so
    ("Rprop", "schedulers"): "schedulers have no effect: changed in the groups, ignored are lr",
    ("LBFGS", "groups"): "unknown: parameters influence each other",
    ("LBFGS", "neighbors"): "parameters of any shape influence each other",
    ("LBFGS", "closure"): "called",
    ("Muon", "weight decay"): "decoupled",
}


@pytest.mark.parametrize("name", NAMES)
def test_classes_of_torch_keep_the_contract(name: str):
    for what in ("neighbors", "groups", "schedulers", "closure"):
        finding = found(getattr(torch.optim, name), what)
        if (name, what) in EXPECTED:
            assert finding.text.startswith(EXPECTED[name, what])
        else:
            assert finding.text.startswith((*RIGHT, "there are no options of groups"))
            assert not finding.trouble


# ---- options that are ignored, doubled, or of the wrong sign


class AdamW(Adam):
    """Decoupled decay by the letter; classes below get a line of it wrong."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = self.closed(closure)
        for group in self.param_groups:
            for p in (p for p in group["params"] if p.grad is not None):
                p.mul_(1 - self.share(group["lr"], group["weight_decay"]))
                self.update(p, p.grad + self.added(p, group), self.options(group))
        return loss

    def share(self, lr: float, weight_decay: float) -> float:
        return lr * weight_decay

    def added(self, p: Tensor, group: dict[str, Any]) -> float | Tensor:
        return 0.0


class Coupled(AdamW):
    def share(self, lr, weight_decay):
        return 0.0

    def added(self, p, group):
        return self.times(group["lr"]) * group["weight_decay"] * p

    def times(self, lr):
        return 1.0


def variant(base: type, **methods: Any) -> type:
    return type("Variant", (base,), methods)


GROWS = variant(AdamW, share=lambda self, lr, weight_decay: -lr * weight_decay)
TWICE = variant(AdamW, share=lambda self, lr, weight_decay: lr * lr * weight_decay)
DOUBLED = variant(AdamW, share=lambda self, lr, weight_decay: 2 * lr * weight_decay)
FIXED = variant(AdamW, share=lambda self, lr, weight_decay: weight_decay)
TENTH = variant(AdamW, share=lambda self, lr, weight_decay: 0.1 * weight_decay)
NO_DECAY = variant(AdamW, share=lambda self, lr, weight_decay: 0.0)
L2_UP = variant(Coupled, times=lambda self, lr: -1.0)
L2_DOUBLED = variant(Coupled, times=lambda self, lr: 2.0)
L2_TIMES_LR = variant(Coupled, times=lambda self, lr: lr)
L2_TENFOLD = variant(Coupled, times=lambda self, lr: 10.0)


def with_options(**change: Any) -> type:
    """Adam whose group options are replaced by functions of them."""
    return variant(
        AdamW,
        options=lambda self, group: {
            **group,
            **{name: make(self, group) for name, make in change.items()},
        },
    )


LR_IGNORED = with_options(lr=lambda self, group: 0.001)
LR_CONSTRUCTED = with_options(lr=lambda self, group: self.defaults["lr"])
LR_SQUARED = with_options(lr=lambda self, group: group["lr"] ** 2)
LR_ROOT = with_options(lr=lambda self, group: group["lr"] ** 0.5)
LR_CUBED = with_options(lr=lambda self, group: group["lr"] ** 3)
UPHILL = with_options(lr=lambda self, group: -group["lr"])
BETA1_IGNORED = with_options(betas=lambda self, group: (0.9, group["betas"][1]))
BETA2_IGNORED = with_options(betas=lambda self, group: (group["betas"][0], 0.999))
BETAS_TIED = with_options(betas=lambda self, group: (group["betas"][0],) * 2)
EPS_IGNORED = with_options(eps=lambda self, group: 1e-8)
EPS_SUBTRACTED = with_options(eps=lambda self, group: -group["eps"])
RANDOM = with_options(lr=lambda self, group: group["lr"] * float(torch.rand(())))

EFFECTS = [
    (AdamW, "options", "each has an effect: lr, eps, weight_decay, beta1, beta2", False),
    (LR_IGNORED, "options", "without effect, as it is constructed: lr", True),
    (BETA1_IGNORED, "options", "without effect, as it is constructed: beta1", True),
    (BETA2_IGNORED, "options", "without effect, as it is constructed: beta2", True),
    (BETAS_TIED, "options", "without effect, as it is constructed: beta2", True),
    (EPS_IGNORED, "options", "without effect, as it is constructed: eps", True),
    (NO_DECAY, "options", "without effect, as it is constructed: weight_decay", True),
    (RANDOM, "options", "unknown: two runs of the same steps differ", False),
    (LR_IGNORED, "groups", "each group uses its own weight_decay, beta1, beta2, eps", False),
    (LR_IGNORED, "schedulers", "schedulers are followed: weight_decay, beta1, beta2, eps", False),
    (
        AdamW,
        "learning rate",
        "steps are proportional to it, as constructed and as scheduled",
        False,
    ),
    (LR_IGNORED, "learning rate", "lr is ignored: steps are as large at half of it", True),
    (
        LR_CONSTRUCTED,
        "learning rate",
        "steps follow the lr of the constructor; lr is ignored when",
        True,
    ),
    (LR_SQUARED, "learning rate", "steps go as the square of lr", True),
    (LR_ROOT, "learning rate", "steps go as the square root of lr", True),
    (
        LR_CUBED,
        "learning rate",
        "of its own kind: half of lr leaves 0.125 of a path, half by a scheduler 0.125",
        False,
    ),
    (UPHILL, "learning rate", "steps go up the gradient, not down", True),
    (
        RANDOM,
        "learning rate",
        "unknown: paths at two learning rates differ by more than their scale",
        False,
    ),
    (
        EPS_SUBTRACTED,
        "place of eps",
        "subtracted from the root: small gradients take steps uphill",
        True,
    ),
    (EPS_IGNORED, "place of eps", "the option has no effect", True),
    (
        AdamW,
        "weight decay",
        "decoupled, times lr; at weight_decay=0.001, lr=0.1 a step removes the share",
        False,
    ),
    (GROWS, "weight decay", "with the wrong sign: it makes weights grow", True),
    (TWICE, "weight decay", "decoupled, times lr twice", True),
    (DOUBLED, "weight decay", "decoupled, times lr, 2 times that", True),
    (FIXED, "weight decay", "ignores lr and its schedule; at", True),
    (TENTH, "weight decay", "ignores lr and its schedule, 0.1 times that", True),
    (NO_DECAY, "weight decay", "the option has no effect", True),
    (Coupled, "weight decay", "l2: it is added to the gradient", False),
    (L2_UP, "weight decay", "l2, with the wrong sign", True),
    (L2_DOUBLED, "weight decay", "l2, doubled", True),
    (L2_TIMES_LR, "weight decay", "l2, times lr", True),
    (L2_TENFOLD, "weight decay", "of its own kind", False),
]


@pytest.mark.parametrize(("kind", "what", "text", "trouble"), EFFECTS, ids=range(len(EFFECTS)))
def test_effects_are_measured(kind: type, what: str, text: str, trouble: bool):
    finding = found(kind, what)
    assert (finding.text[: len(text)], finding.trouble) == (text, trouble)


def test_a_decay_is_told_at_an_lr_that_is_set():
    subject = with_seed(lambda: BlackBox(AdamW, {"lr": 0.01}))
    row = with_seed(
        lambda: audits._probe_row("weight decay", audits.PROBES["weight decay"], subject)
    )
    assert (
        row.finding
        == "decoupled, times lr; at weight_decay=0.001, lr=0.01 a step removes the share"
    )
    assert row.number == pytest.approx(1e-5)


@pytest.mark.parametrize(
    ("kind", "unlike"), [(GROWS, "decay that makes weights grow"), (TWICE, "decay times lr twice")]
)
def test_a_wrong_decay_is_no_published_rule(kind: type, unlike: str):
    audit = audits.audit(kind)
    assert (audit.rule, audit.nearest, audit.unlike) == (None, "AdamW", (unlike,))
    assert audit["rule"].trouble


def test_an_option_that_the_rule_does_not_use_is_no_trouble():
    """Without estimates of the curvature Sophia's v stays 0, and beta2 has no effect."""
    audit = audits.audit(betaplane.optim.Sophia)
    assert audit.rule == "Sophia"
    assert audit["options"].finding == "without effect, as it is constructed: beta2; as in Sophia"
    assert not audit["options"].trouble
    row = audits.AuditRow("options", "without effect", trouble=True)
    assert audits._without_shared_trouble(row, None) == row
