"""What to do with beta2 and lr if the batch size changes."""

from __future__ import annotations

from betaplane.claims.checks import Below
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Panel, Series
from betaplane.claims.lab import Lab
from betaplane.claims.literature._small import small_text
from betaplane.claims.tuning import final_loss
from betaplane.replicas import Run
from betaplane.rules import AdamW
from betaplane.theory import same_half_life, square_root_scaling

BASE, BETA2 = 32, 0.95
BATCHES = (4, 8, 128, 256)
EXAMPLES = 6400  # seen by every run
NAMES = ("the same beta2", "the same half-life", "the square-root rule")


def measure(lab: Lab) -> None:
    """Tune at batch 32, then carry the settings over to other batch sizes by three rules."""
    base = small_text(EXAMPLES // BASE, BASE, schedule="warmup_cosine", warmup=0.1)
    rule = AdamW(beta2=BETA2)
    lr = lab.tune(base, {"AdamW": rule}, (0.01, 0.02, 0.04)).lr("AdamW")
    lab.measure("best lr at batch 32", lr)
    means = {name: [] for name in NAMES}
    for batch in BATCHES:
        problem = base.with_(batch_size=batch, steps=EXAMPLES // batch)
        for name, (carried, rate) in zip(NAMES, _carried(lr, batch), strict=True):
            runs = [Run(carried, rate, batch, seed) for seed in lab.seeds]
            finals = [final_loss(outcome) for outcome in lab.train(problem, runs)]
            lab.measure(f"final loss at batch {batch}, {name}", finals)
            means[name].append(sum(finals) / len(finals))
    series = [Series(name, BATCHES, values) for name, values in means.items()]
    title = "Text, settings from batch 32"
    lab.draw(Panel(title, "batch size", "final loss", series, "log"))


def _carried(lr: float, batch: int) -> list[tuple[AdamW, float]]:
    """The rule and lr of each of NAMES at a batch size."""
    factor = batch / BASE
    scaled = square_root_scaling(factor, lr, 0.9, BETA2)
    square_root = AdamW(beta1=float(scaled.beta1), beta2=float(scaled.beta2), eps=float(scaled.eps))
    half_life = AdamW(beta2=float(same_half_life(BETA2, factor)))
    return [(AdamW(beta2=BETA2), lr), (half_life, lr), (square_root, float(scaled.lr))]


CLAIM = Claim(
    name="batch-transfer",
    title="Carrying settings to another batch size",
    statement="If the batch size changes, keeping beta2's half-life in examples, or the square-root rule, "
    "trains better than keeping beta2.",
    sources=(
        Source("M. Marek and others", 2025, "2507.07101", "half-life rule, Section 3"),
        Source("S. Malladi and others", 2022, "2205.10287", "square-root scaling rule"),
    ),
    setting="A character model of width 16; settings tuned at batch 32, beta2 = 0.95, then 6,400 examples "
    "at other batch sizes. Marek and others keep the half-life down to batch 1 on 30M to 1.3B parameters.",
    checks=tuple(
        Below(
            f"final loss at batch {batch}, {name}",
            f"final loss at batch {batch}, {NAMES[0]}",
            when=f"at batch {batch} with {name}",
        )
        for batch in BATCHES
        for name in NAMES[1:]
    ),
    measure=measure,
    seeds=10,
)
