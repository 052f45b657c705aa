"""What an audit says of groups, schedulers, closures, neighbors and nan is right, or "unknown"."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

from betaplane.audit.black_box import BlackBox, quietly
from betaplane.audit.probes import Finding

audits = import_module("betaplane.audit.audit")  # the function of that name shadows the module in the package


class Adam(torch.optim.Optimizer):
    """Adam in a few lines, each of which a class below gets wrong."""

    def __init__(self, params: Any, lr: float = 1e-3, betas: Any = (0.9, 0.999), eps: float = 1e-8, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
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
        grads = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.stack([g.norm() for g in grads]).norm() if grads else torch.tensor(1.0)
        for g in grads:
            g.div_(1 + norm)
        return super().step(closure)


class OneEstimate(Adam):
    """Multiplies every step by how many large gradients were seen so far, in all parameters together."""

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
    subject = quietly(lambda: BlackBox(kind, {}))
    row = quietly(lambda: audits._asked(what, audits.PROBES[what], subject))
    return Finding(row.finding, row.number, row.trouble)


ROWS = [
    (Adam, "groups", "each group uses its own lr, weight_decay, beta1, beta2, eps"),
    (Adam, "schedulers", "schedulers are followed: lr, weight_decay, beta1, beta2, eps"),
    (Adam, "neighbors", "each steps as it does alone"),
    (Adam, "closure", "called once, with gradients enabled; its loss is returned"),
    (Adam, "late gradient", "each parameter counts its own steps"),
    (Adam, "weight decay", "l2: it is added to the gradient, and normalized away with it"),
    (FirstGroup, "groups", "every group uses the first group's: lr, weight_decay, beta1, beta2, eps"),
    (FirstGroup, "schedulers", "schedulers are followed"),
    (FirstLr, "groups", "every group uses the first group's: lr"),
    (Constructors, "groups", "groups have no effect on: lr, weight_decay, beta1, beta2, eps"),
    (Constructors, "schedulers", "schedulers have no effect: changed in the groups, ignored are lr, weight_decay"),
    (ByShape, "neighbors", "state is shared by parameters of the same shape"),
    (ByShape, "late gradient", "each parameter counts its own steps"),
    (BySize, "neighbors", "state is shared by parameters of the same shape and of the same number of elements"),
    (OneClock, "late gradient", "steps are counted for all together"),
    (OneEstimate, "late gradient", "unknown: parameters influence each other"),
    (OneNorm, "groups", "unknown: parameters influence each other"),
    (OneNorm, "neighbors", "parameters of any shape influence each other"),
    (NanAtZero, "weight decay", "unknown: the weights are nan or infinite after step 1"),
    (NanAtZero, "order of decay", "unknown: the weights are nan or infinite after step 1"),
    (NanAtZero, "zero gradient, lr=0", "unknown: the weights are nan or infinite after step 1"),
    (SquaredDecay, "weight decay", "of its own kind: at twice the weight_decay a step takes, times as much"),
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
    assert finding.trouble != finding.text.startswith((*RIGHT, "unknown: parameters", "parameters", "of its own"))


NAMES = [name for name in torch.optim.__all__ if isinstance(getattr(torch.optim, name), type) and name != "Optimizer"]
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
