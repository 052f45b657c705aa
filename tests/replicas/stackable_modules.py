"""Small modules with special features that a stack supports."""

import random

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize


class Net(nn.Module):
    """A small network with one place for a special feature."""

    why = ""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 2)
        self.build()

    def build(self):
        """Add special parts."""

    def special(self, h):
        """The special part of the forward pass."""
        return h

    def forward(self, x):
        return self.b(self.special(torch.tanh(self.a(x))))


class FrozenLayer(Net):
    def build(self):
        self.a.requires_grad_(False)


class FrozenByItself(Net):
    def build(self):
        self.gain = nn.Parameter(torch.full((5,), 0.7), requires_grad=False)

    def special(self, h):
        return h * self.gain


class UnusedParameter(Net):
    def build(self):
        self.unused = nn.Linear(3, 3)


class DetachedPart(Net):
    def special(self, h):
        return h + self.a.weight.detach().sum() + torch.no_grad()(torch.tanh)(self.b.weight).sum()


class TiedWeights(Net):
    def build(self):
        self.c = nn.Linear(5, 5)
        self.d = nn.Linear(5, 5)
        self.d.weight = self.c.weight

    def special(self, h):
        return self.d(torch.tanh(self.c(h)))


class BufferInPlace(Net):
    def build(self):
        self.register_buffer("mean", torch.zeros(5))

    def special(self, h):
        self.mean.mul_(0.9).add_(h.detach().mean(0), alpha=0.1)
        return h - self.mean


class BufferReassigned(Net):
    def build(self):
        self.register_buffer("steps", torch.zeros(()))

    def special(self, h):
        self.steps = self.steps + 1
        return h * torch.cos(self.steps)


class BatchNorm(Net):
    def build(self):
        self.norm = nn.BatchNorm1d(5)

    def special(self, h):
        return self.norm(h)


class EvalBatchNorm(BatchNorm):
    def build(self):
        super().build()
        self.norm.eval()


class Dropout(Net):
    def special(self, h):
        return nn.functional.dropout(h, 0.4, self.training)


class DropoutInEval(Net):
    def build(self):
        self.drop = nn.Dropout(0.5).eval()

    def special(self, h):
        return self.drop(h)


class Noise(Net):
    def special(self, h):
        return h + 0.1 * torch.randn_like(h) + torch.rand(5, dtype=h.dtype)


class WeightNorm(Net):
    def build(self):
        parametrizations.weight_norm(self.a)


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
    def special(self, h):
        for k in range(3):
            h = torch.sin(h + k) if k % 2 else torch.cos(h)
        return h


class WhereBranch(Net):
    def special(self, h):
        return torch.where(h.sum() > 0, h, -h)


class LazyLayer(Net):
    def build(self):
        self.a = nn.LazyLinear(5)


class DrawnByPython(Net):
    def build(self):
        self.gain = random.uniform(0.5, 2.0) + np.random.uniform(0.5, 2.0)

    def special(self, h):
        return self.gain * h


STACKABLE = [
    FrozenLayer,
    FrozenByItself,
    UnusedParameter,
    DetachedPart,
    TiedWeights,
    BufferInPlace,
    BufferReassigned,
    BatchNorm,
    EvalBatchNorm,
    Dropout,
    DropoutInEval,
    Noise,
    WeightNorm,
    Symmetric,
    ForwardHook,
    PythonLoop,
    WhereBranch,
    LazyLayer,
    DrawnByPython,
]
