"""Small modules with state that a stack does not carry: Python objects, clocks, other generators.

Each class is a case; `why` is a pattern of the reason for the plain engine.
"""

import itertools
import os
import random
import time
import types

import numpy as np
import torch
from stackable_modules import Net

COUNTS = {"calls": 0}
SETTINGS = types.SimpleNamespace(scale=1.0)


class Counter(Net):
    why = r"module\.k changes"

    def build(self):
        self.k = 0

    def special(self, h):
        self.k += 1
        return h * (self.k < 3)


class LateCounter(Counter):
    def special(self, h):
        self.k += 1
        return h * (self.k < 10**6)


class FlipFlop(Counter):
    def special(self, h):
        self.k = 1 - self.k
        return h * (1 + self.k)


class ClassCounter(Net):
    why = r"ClassCounter\.k changes"
    k = 0

    def special(self, h):
        ClassCounter.k += 1
        return h * (ClassCounter.k < 3)


class GlobalCounter(Net):
    why = r"COUNTS\.calls changes"

    def special(self, h):
        COUNTS["calls"] += 1
        return h * (COUNTS["calls"] < 3)


class GlobalSettings(Net):
    why = r"SETTINGS\.scale changes"

    def special(self, h):
        SETTINGS.scale *= 0.9
        return h * SETTINGS.scale


class ListGrows(Net):
    why = r"module\.past\[0\] changes"

    def build(self):
        self.past = []

    def special(self, h):
        self.past.append(h.detach().mean())
        return h - self.past[0]


class DefaultGrows(Net):
    why = "changes in training"

    def special(self, h, seen=[]):  # noqa: B006
        seen.append(1)
        return h / len(seen)


class TensorAttribute(Net):
    why = "changes in training|writes into a tensor|Convert|convert"

    def build(self):
        self.steps = torch.zeros(())

    def special(self, h):
        self.steps += 1
        return h * torch.cos(self.steps)


class RarelyWritten(Net):
    why = "writes into a tensor that is not a buffer"

    def build(self):
        self.limit = torch.full((5,), 100.0)

    def special(self, h):
        self.limit.clamp_(max=100.0)
        return h


class Iterates(Net):
    why = "is an iterator"

    def build(self):
        self.gains = itertools.cycle([1.0, 0.5, 2.0])

    def special(self, h):
        return h * next(self.gains)


class ReadsClock(Net):
    why = "uses 'time'"

    def special(self, h):
        return h if time.time() < 10**12 else -h


class Environment(Net):
    why = "uses 'os'|environ"

    def special(self, h):
        k = int(os.environ.get("STATEFUL_MODULES", 0))
        os.environ["STATEFUL_MODULES"] = str(k + 1)
        return h * (k < 3)


class PythonRandom(Net):
    why = "draws from Python's random numbers"

    def special(self, h):
        return h * (1.0 if random.random() < 0.5 else 2.0)


class NumpyRandom(Net):
    why = "draws from NumPy's random numbers"

    def special(self, h):
        return h * float(np.random.uniform(1, 2))


class OwnGenerator(Net):
    why = r"module\.g changes"

    def build(self):
        self.g = torch.Generator().manual_seed(5)

    def special(self, h):
        return h + torch.rand(5, generator=self.g, dtype=h.dtype)


class CountingFunction(torch.autograd.Function):
    calls = 0

    @staticmethod
    def forward(ctx, x):
        CountingFunction.calls += 1
        return x * (CountingFunction.calls < 3)

    @staticmethod
    def backward(ctx, g):
        return g


class AutogradFunction(Net):
    why = r"CountingFunction\.calls changes"

    def special(self, h):
        return CountingFunction.apply(h)


def reset() -> None:
    """Reset the state outside of modules, which a plain user loop changes."""
    COUNTS["calls"] = ClassCounter.k = CountingFunction.calls = 0
    SETTINGS.scale = 1.0
    os.environ.pop("STATEFUL_MODULES", None)
    DefaultGrows.special.__defaults__[0].clear()


STATEFUL = [
    Counter,
    LateCounter,
    FlipFlop,
    ClassCounter,
    GlobalCounter,
    GlobalSettings,
    ListGrows,
    DefaultGrows,
    TensorAttribute,
    RarelyWritten,
    Iterates,
    ReadsClock,
    Environment,
    PythonRandom,
    NumpyRandom,
    OwnGenerator,
    AutogradFunction,
]
