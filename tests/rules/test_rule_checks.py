"""Each planted fault is caught by the checks that should catch it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import rule_checks as checks

from betaplane.rules import Adam
from betaplane.rules._math import debias, ema
from betaplane.rules.adam import AdamState


@dataclass(frozen=True)
class Faulty(Adam):
    """Adam's step in pieces, so that each fault below changes one of them."""

    def square(self, g):
        return g * g

    def betas(self):
        return self.beta1, self.beta2

    def time(self, s):
        return s.t + 1

    def denominator(self, v_hat):
        return v_hat.sqrt() + self.eps

    def step(self, x, g, s, lr):
        beta1, beta2 = self.betas()
        t = self.time(s)
        g = g + self.weight_decay * x
        m, v = ema(s.m, g, beta1), ema(s.v, self.square(g), beta2)
        x = x - lr * debias(m, beta1, t) / self.denominator(debias(v, beta2, t))
        return x, AdamState(s.t + 1, m, v)


class BetasSwapped(Faulty):
    def betas(self):
        return self.beta2, self.beta1


class EpsInsideTheRoot(Faulty):
    def denominator(self, v_hat):
        return (v_hat + self.eps).sqrt()


class TimeOffByOne(Faulty):
    def time(self, s):
        return s.t + 2


class NotSquared(Faulty):
    def square(self, g):
        return g.abs()


class NoRoot(Faulty):
    def denominator(self, v_hat):
        return v_hat + self.eps


class NotDebiased(Faulty):
    def step(self, x, g, s, lr):
        m, v = ema(s.m, g, self.beta1), ema(s.v, g * g, self.beta2)
        return x - lr * m / (v.sqrt() + self.eps), AdamState(s.t + 1, m, v)


class ConstantAdded(Faulty):
    def step(self, x, g, s, lr):
        x, s = super().step(x, g, s, lr)
        return x + 1e-3 * lr, s


class GradientChanged(Faulty):
    def step(self, x, g, s, lr):
        x, s = super().step(x, g.add_(self.weight_decay * x), s, lr)
        g.mul_(2)
        return x, s


class StateChanged(Faulty):
    def step(self, x, g, s, lr):
        m, v = s.m.mul_(self.beta1).add_((1 - self.beta1) * g), ema(s.v, g * g, self.beta2)
        t = s.t + 1
        m_hat, v_hat = debias(m, self.beta1, t), debias(v, self.beta2, t)
        return x - lr * m_hat / (v_hat.sqrt() + self.eps), AdamState(t, m, v)


class ParameterChanged(Faulty):
    def step(self, x, g, s, lr):
        new, s = super().step(x, g, s, lr)
        return x.copy_(new), s


class GradientKept(Faulty):
    def step(self, x, g, s, lr):
        x, s = super().step(x, g, s, lr)
        return x, s._replace(m=g)


FAULTS = [
    (BetasSwapped, {"reference", "bound"}),
    (EpsInsideTheRoot, {"reference"}),
    (TimeOffByOne, {"reference", "laws"}),
    (NotSquared, {"reference", "laws", "bound"}),
    (NoRoot, {"reference", "laws", "bound"}),
    (NotDebiased, {"reference", "laws"}),
    (ConstantAdded, {"reference", "laws"}),
    (GradientChanged, {"purity"}),
    (StateChanged, {"purity"}),
    (ParameterChanged, {"purity"}),
    (GradientKept, {"purity", "reference"}),
]


NETS = {
    "laws": lambda kind: checks.broken_laws(kind()),
    "bound": lambda kind: checks.broken_bound(kind()),
    "purity": lambda kind: checks.impurities(kind()),
    "reference": lambda kind: checks.golden_misses(kind, "adam"),
}


@pytest.mark.parametrize(("fault", "by"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_fault_is_caught(fault: type[Adam], by: set[str]) -> None:
    assert {net for net in by if NETS[net](fault)} == by


def test_correct_rule_passes_all_checks() -> None:
    assert {net: caught for net, find in NETS.items() if (caught := find(Faulty))} == {}
