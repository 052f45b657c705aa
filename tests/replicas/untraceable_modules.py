"""Small modules with hooks, writes or control flow that torch.func would lose or cannot batch.

Each class is a case; `why` is a pattern of the reason for the plain engine.
"""

import torch
from stackable_modules import Net
from torch import nn
from torch.nn.utils import parametrizations


# an operation with out=, which vmap cannot batch, writes its buffers
class SpectralNorm(Net):
    why = "cannot batch"

    def build(self):
        parametrizations.spectral_norm(self.a)


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

    def special(self, h):
        h.register_hook(lambda g: g.clamp(-1e3, 1e3))
        return h


class Clamped(Net):
    why = r"writes into module\.a\.weight"

    def special(self, h):
        with torch.no_grad():
            self.a.weight.clamp_(-10, 10)
        return h


class Averaged(Net):
    """A moving average of the model (mean teacher, BYOL)."""

    why = r"writes into module\.teacher"

    def build(self):
        self.teacher = nn.Parameter(torch.zeros(5, 4), requires_grad=False)

    def special(self, h):
        self.teacher.data.lerp_(self.a.weight.data, 0.1)
        return h + self.teacher.sum(1)


class Unfreezes(Net):
    why = "frozen or unfrozen|are not the same|changes"

    def build(self):
        self.a.requires_grad_(False)
        self.register_buffer("steps", torch.zeros(()))

    def special(self, h):
        self.steps += 1
        self.a.requires_grad_(bool(self.steps >= 2))
        return h


class StochasticDepth(Net):
    why = "are not the same in all steps|batch"

    def build(self):
        self.c = nn.Linear(5, 5)

    def special(self, h):
        return self.c(h) if torch.rand(()) < 0.5 else h


class DataBranch(Net):
    why = "batch"

    def special(self, h):
        return h if h.sum() > 0 else -h


class BooleanMask(Net):
    why = "batch"

    def special(self, h):
        return h + h[h > 0].mean()


class Complex(Net):
    why = "is complex"

    def build(self):
        self.c = nn.Parameter(torch.ones(5, dtype=torch.complex128))

    def special(self, h):
        return (h * self.c).abs()


class CreatedInForward(Net):
    why = "creates a parameter"

    def special(self, h):
        if not hasattr(self, "c"):
            self.c = nn.Parameter(torch.ones(5, dtype=h.dtype))
        return h * self.c


class InputInPlace(Net):
    why = "writes into its input"

    def forward(self, x):
        return super().forward(x.clamp_(-50, 50))


class ForwardGradient(Net):
    why = "batch|observed|fake"

    def special(self, h):
        import torch.autograd.forward_ad as fwad

        with fwad.dual_level():
            return fwad.unpack_dual(torch.sin(fwad.make_dual(h, torch.ones_like(h)))).tangent


class Scripted(Net):
    why = "is a"

    def build(self):
        self.a = torch.jit.trace(self.a, torch.zeros(1, 4))


UNTRACEABLE = [
    SpectralNorm,
    GradientHook,
    AccumulatedHook,
    BackwardHook,
    ActivationHook,
    Clamped,
    Averaged,
    Unfreezes,
    StochasticDepth,
    DataBranch,
    BooleanMask,
    Complex,
    CreatedInForward,
    InputInPlace,
    ForwardGradient,
    Scripted,
]
