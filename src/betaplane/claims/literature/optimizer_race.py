"""Adam against Adagrad, RMSProp and SGD with momentum on four problems, all tuned alike."""

from __future__ import annotations

from betaplane.claims.checks import Below
from betaplane.claims.claim import Claim, Source
from betaplane.claims.contest import contest
from betaplane.claims.lab import Lab
from betaplane.claims.literature._small import small_text
from betaplane.problems import digits
from betaplane.rules import SGD, Adagrad, Adam, RMSprop

CONTENDERS = {
    "Adam": Adam(),
    "Adagrad": Adagrad(),
    "RMSProp": RMSprop(alpha=0.99),
    "SGD with momentum": SGD(momentum=0.9),
}
LRS = {
    "Adam": (0.002, 0.008, 0.032),
    "Adagrad": (0.01, 0.04, 0.16),
    "RMSProp": (0.001, 0.004, 0.016),
    "SGD with momentum": (0.02, 0.08, 0.32),
}
PROBLEMS = ("softmax regression", "one hidden layer", "convolutions", "a language model")
MARGIN = -0.02  # nats by which Adam may be worse and still count as equal


def measure(lab: Lab) -> None:
    """Tune and train every contender on every problem."""
    problems = (
        digits(model="logistic", steps=400),
        digits(steps=400),
        digits(model="conv", steps=200),
        small_text(steps=300),
    )
    for name, problem in zip(PROBLEMS, problems, strict=True):
        contest(lab, problem, CONTENDERS, LRS, f", {name}", title=name.capitalize())


CLAIM = Claim(
    name="optimizer-race",
    title="Adam against its predecessors",
    statement="With learning rates tuned alike, Adam trains at least as fast as Adagrad, RMSProp and SGD "
    "with momentum.",
    sources=(Source("D. P. Kingma, J. Ba", 2015, "1412.6980", "Figures 1 to 3"),),
    setting="Digits with softmax regression, one hidden layer and a small convolutional network; a "
    "character model of width 16. Final training losses after 200 to 400 steps at a constant lr; equal "
    "means within 0.02 nats. The paper trains on MNIST, IMDB and CIFAR-10.",
    checks=tuple(
        Below(
            f"final loss of Adam, {name}",
            f"final loss of {other}, {name}",
            MARGIN,
            when=f"training {name}",
        )
        for name in PROBLEMS
        for other in CONTENDERS
        if other != "Adam"
    ),
    measure=measure,
)
