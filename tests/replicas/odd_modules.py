"""Small modules that do what PyTorch allows: what of it a stack carries, and why the others are
trained plain.

Each class is a case; `why` is what the reason has to say, "" for what must be stacked.
"""

import itertools
import os
import random
import time
import types

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

COUNTS = {"calls": 0}
SETTINGS = types.SimpleNamespace(scale=1.0)


class Net(nn.Module):
    """A small network with one place for what is odd."""

    why = ""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 2)
        self.build()

    def build(self):
        """What is odd about the parts."""

    def odd(self, h):
        """What is odd about the forward pass."""
        return h

    def forward(self, x):
        return self.b(self.odd(torch.tanh(self.a(x))))


# what a stack carries


class FrozenLayer(Net):
    def build(self):
        self.a.requires_grad_(False)


class FrozenByItself(Net):
    def build(self):
        self.gain = nn.Parameter(torch.full((5,), 0.7), requires_grad=False)

    def odd(self, h):
        return h * self.gain


class UnusedParameter(Net):
    def build(self):
        self.unused = nn.Linear(3, 3)


class DetachedPart(Net):
    def odd(self, h):
        return h + self.a.weight.detach().sum() + torch.no_grad()(torch.tanh)(self.b.weight).sum()


class TiedWeights(Net):
    def build(self):
        self.c = nn.Linear(5, 5)
        self.d = nn.Linear(5, 5)
        self.d.weight = self.c.weight

    def odd(self, h):
        return self.d(torch.tanh(self.c(h)))


class BufferInPlace(Net):
    def build(self):
        self.register_buffer("mean", torch.zeros(5))

    def odd(self, h):
        self.mean.mul_(0.9).add_(h.detach().mean(0), alpha=0.1)
        return h - self.mean


class BufferReassigned(Net):
    def build(self):
        self.register_buffer("steps", torch.zeros(()))

    def odd(self, h):
        self.steps = self.steps + 1
        return h * torch.cos(self.steps)


class BatchNorm(Net):
    def build(self):
        self.norm = nn.BatchNorm1d(5)

    def odd(self, h):
        return self.norm(h)


class EvalBatchNorm(BatchNorm):
    def build(self):
        super().build()
        self.norm.eval()


class Dropout(Net):
    def odd(self, h):
        return nn.functional.dropout(h, 0.4, self.training)


class DropoutInEval(Net):
    def build(self):
        self.drop = nn.Dropout(0.5).eval()

    def odd(self, h):
        return self.drop(h)


class Noise(Net):
    def odd(self, h):
        return h + 0.1 * torch.randn_like(h) + torch.rand(5, dtype=h.dtype)


class WeightNorm(Net):
    def build(self):
        parametrizations.weight_norm(self.a)


# its buffers are written by an operation with out=, which vmap does not know
class SpectralNorm(Net):
    why = "cannot batch"

    def build(self):
        parametrizations.spectral_norm(self.a)


class Symmetric(Net):
    def build(self):
        class Doubled(nn.Module):
            def forward(self, w):
                return w + w.flip(0)

        parametrize.register_parametrization(self.a, "weight", Doubled())


class ForwardHook(Net):
    def build(self):
        self.a.register_forward_hook(lambda module, args, output: 2 * output)


class PythonLoop(Net):
    def odd(self, h):
        for k in range(3):
            h = torch.sin(h + k) if k % 2 else torch.cos(h)
        return h


class WhereBranch(Net):
    def odd(self, h):
        return torch.where(h.sum() > 0, h, -h)


class LazyLayer(Net):
    def build(self):
        self.a = nn.LazyLinear(5)


class DrawnByPython(Net):
    def build(self):
        self.gain = random.uniform(0.5, 2.0) + np.random.uniform(0.5, 2.0)

    def odd(self, h):
        return self.gain * h


# what a stack would lose


class Counter(Net):
    why = r"module\.k changes"

    def build(self):
        self.k = 0

    def odd(self, h):
        self.k += 1
        return h * (self.k < 3)


class LateCounter(Counter):
    def odd(self, h):
        self.k += 1
        return h * (self.k < 10**6)


class FlipFlop(Counter):
    def odd(self, h):
        self.k = 1 - self.k
        return h * (1 + self.k)


class ClassCounter(Net):
    why = r"ClassCounter\.k changes"
    k = 0

    def odd(self, h):
        ClassCounter.k += 1
        return h * (ClassCounter.k < 3)


class GlobalCounter(Net):
    why = r"COUNTS\.calls changes"

    def odd(self, h):
        COUNTS["calls"] += 1
        return h * (COUNTS["calls"] < 3)


class GlobalSettings(Net):
    why = r"SETTINGS\.scale changes"

    def odd(self, h):
        SETTINGS.scale *= 0.9
        return h * SETTINGS.scale


class ListGrows(Net):
    why = r"module\.past\[0\] changes"

    def build(self):
        self.past = []

    def odd(self, h):
        self.past.append(h.detach().mean())
        return h - self.past[0]


class DefaultGrows(Net):
    why = "changes in training"

    def odd(self, h, seen=[]):  # noqa: B006
        seen.append(1)
        return h / len(seen)


class TensorAttribute(Net):
    why = "changes in training|writes into a tensor|Convert|convert"

    def build(self):
        self.steps = torch.zeros(())

    def odd(self, h):
        self.steps += 1
        return h * torch.cos(self.steps)


class RarelyWritten(Net):
    why = "writes into a tensor that is not a buffer"

    def build(self):
        self.limit = torch.full((5,), 100.0)

    def odd(self, h):
        self.limit.clamp_(max=100.0)
        return h


class Iterates(Net):
    why = "is an iterator"

    def build(self):
        self.gains = itertools.cycle([1.0, 0.5, 2.0])

    def odd(self, h):
        return h * next(self.gains)


class ReadsClock(Net):
    why = "uses 'time'"

    def odd(self, h):
        return h if time.time() < 10**12 else -h


class Environment(Net):
    why = "uses 'os'|environ"

    def odd(self, h):
        k = int(os.environ.get("ODD_MODULES", 0))
        os.environ["ODD_MODULES"] = str(k + 1)
        return h * (k < 3)


class PythonRandom(Net):
    why = "draws from Python's random numbers"

    def odd(self, h):
        return h * (1.0 if random.random() < 0.5 else 2.0)


class NumpyRandom(Net):
    why = "draws from NumPy's random numbers"

    def odd(self, h):
        return h * float(np.random.uniform(1, 2))


class OwnGenerator(Net):
    why = r"module\.g changes"

    def build(self):
        self.g = torch.Generator().manual_seed(5)

    def odd(self, h):
        return h + torch.rand(5, generator=self.g, dtype=h.dtype)


class GradientHook(Net):
    why = r"module\.a\.weight has a gradient hook"

    def build(self):
        self.a.weight.register_hook(lambda g: g.clamp(-0.01, 0.01))


class AccumulatedHook(Net):
    why = r"module\.a\.weight has a gradient hook"

    def build(self):
        def halve(p):
            p.grad.mul_(0.5)

        self.a.weight.register_post_accumulate_grad_hook(halve)


class BackwardHook(Net):
    why = r"module\.b has a backward hook"

    def build(self):
        self.b.register_full_backward_hook(
            lambda module, gi, go: tuple(None if g is None else g / 2 for g in gi)
        )


class ActivationHook(Net):
    why = "registers a hook on a tensor"

    def odd(self, h):
        h.register_hook(lambda g: g.clamp(-1e3, 1e3))
        return h


class Clamped(Net):
    why = r"writes into module\.a\.weight"

    def odd(self, h):
        with torch.no_grad():
            self.a.weight.clamp_(-10, 10)
        return h


class Averaged(Net):
    """A teacher that follows, as in mean teacher and BYOL."""

    why = r"writes into module\.teacher"

    def build(self):
        self.teacher = nn.Parameter(torch.zeros(5, 4), requires_grad=False)

    def odd(self, h):
        self.teacher.data.lerp_(self.a.weight.data, 0.1)
        return h + self.teacher.sum(1)


class Thaws(Net):
    why = "frozen or thawed|are not the same|changes"

    def build(self):
        self.a.requires_grad_(False)
        self.register_buffer("steps", torch.zeros(()))

    def odd(self, h):
        self.steps += 1
        self.a.requires_grad_(bool(self.steps >= 2))
        return h


class StochasticDepth(Net):
    why = "are not the same in all steps|batch"

    def build(self):
        self.c = nn.Linear(5, 5)

    def odd(self, h):
        return self.c(h) if torch.rand(()) < 0.5 else h


class DataBranch(Net):
    why = "batch"

    def odd(self, h):
        return h if h.sum() > 0 else -h


class BooleanMask(Net):
    why = "batch"

    def odd(self, h):
        return h + h[h > 0].mean()


class Complex(Net):
    why = "is complex"

    def build(self):
        self.c = nn.Parameter(torch.ones(5, dtype=torch.complex128))

    def odd(self, h):
        return (h * self.c).abs()


class MadeInForward(Net):
    why = "makes a parameter"

    def odd(self, h):
        if not hasattr(self, "c"):
            self.c = nn.Parameter(torch.ones(5, dtype=h.dtype))
        return h * self.c


class InputInPlace(Net):
    why = "writes into its input"

    def forward(self, x):
        return super().forward(x.clamp_(-50, 50))


class ForwardGradient(Net):
    why = "batch|observed|fake"

    def odd(self, h):
        import torch.autograd.forward_ad as fwad

        with fwad.dual_level():
            return fwad.unpack_dual(torch.sin(fwad.make_dual(h, torch.ones_like(h)))).tangent


class Scripted(Net):
    why = "is a"

    def build(self):
        self.a = torch.jit.trace(self.a, torch.zeros(1, 4))


class OldFunction(torch.autograd.Function):
    calls = 0

    @staticmethod
    def forward(ctx, x):
        OldFunction.calls += 1
        return x * (OldFunction.calls < 3)

    @staticmethod
    def backward(ctx, g):
        return g


class AutogradFunction(Net):
    why = r"OldFunction\.calls changes"

    def odd(self, h):
        return OldFunction.apply(h)


CARRIED = [
    FrozenLayer, FrozenByItself, UnusedParameter, DetachedPart, TiedWeights, BufferInPlace,
    BufferReassigned, BatchNorm, EvalBatchNorm, Dropout, DropoutInEval, Noise, WeightNorm,
    Symmetric, ForwardHook, PythonLoop, WhereBranch, LazyLayer, DrawnByPython,
]  # fmt: skip
LOST = [
    SpectralNorm, Counter, LateCounter, FlipFlop, ClassCounter, GlobalCounter, GlobalSettings,
    ListGrows, DefaultGrows, TensorAttribute, RarelyWritten, Iterates, ReadsClock, Environment,
    PythonRandom, NumpyRandom, OwnGenerator, GradientHook, AccumulatedHook, BackwardHook,
    ActivationHook, Clamped, Averaged, Thaws, StochasticDepth, DataBranch, BooleanMask, Complex,
    MadeInForward, InputInPlace, ForwardGradient, Scripted, AutogradFunction,
]  # fmt: skip
