"""The run that advice is asked for: its batch, its length, its model, what it was set to before,
what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral, Real

from betaplane.advice.evidence import Evidence, evidence
from betaplane.advice.measurements import Checkpoint, Threshold, Window
from betaplane.advice.settings import Settings, carried
from betaplane.errors import BadInput

DTYPES = {
    "float32": "float32",
    "fp32": "float32",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float16": "float16",
}
DTYPES["fp16"] = "float16"


@dataclass(frozen=True)
class RunSpec:
    """What is known of a run; None where nobody said."""

    batch: float  # units a step, >= 1
    unit: str = "samples"  # or "tokens"
    total: float | None = None  # units in the whole run, >= batch
    epoch: float | None = None  # units in one pass over the data, >= batch
    params: float | None = None  # of the model, >= 1
    dtype: str = "float32"  # of the forward pass
    ranks: int = 1  # devices
    memory: float | None = None  # GB a device, > 0, for weights, gradients and states
    before: Settings | None = None  # the setting that worked at another batch size
    map: Window | None = None  # what a trained map showed
    replay: Threshold | None = None  # what recorded gradients ask for
    checkpoint: Checkpoint | None = None
    evidence: Evidence = field(default_factory=evidence, repr=False)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def steps(self) -> float | None:
        """Steps in the run."""
        return None if self.total is None else self.total / self.batch

    @property
    def minibatches(self) -> float | None:
        """Minibatches in one pass over the data, the n of the theorems; where no sample is seen
        twice, in the run.
        """
        seen = self.epoch or (self.total if self.unit == "tokens" else None)
        return None if seen is None else seen / self.batch

    @cached_property
    def carried(self) -> Settings:
        """The setting before, at this batch size; all None where there was none."""
        return Settings() if self.before is None else carried(self.before, self.batch)

    @property
    def factor(self) -> float:
        """The batch size over the one before."""
        return (
            1.0
            if self.before is None or self.before.batch is None
            else self.batch / self.before.batch
        )

    def __str__(self) -> str:
        said = [f"batch of {self.batch:,.6g} {self.unit}"]
        said += [f"{self.factor:.4g} times the one before"] if self.before else []
        said += [f"{self.steps:,.0f} steps"] if self.steps else []
        said += [f"{self.minibatches:,.0f} an epoch"] if self.epoch else []
        said += [f"{self.params:,.6g} parameters"] if self.params else []
        return ", ".join(said)


LARGEST = 1e18  # of any number that is asked for
LIMITS = {  # least, usual
    "batch_size": (1.0, 32),
    "batch_tokens": (1.0, 524_288),
    "dataset_size": (1.0, 60_000),
    "tokens": (1.0, 10e9),
    "epochs": (0.0, 10),
    "params": (1.0, 124e6),
    "memory": (0.0, 80),
}


def inside(**given: float | None) -> None:
    """Raise BadInput for the first argument of `advise` that is no number or out of its range."""
    for name, value in given.items():
        least, usual = LIMITS[name]
        if value is not None and not (
            isinstance(value, Real) and least <= value <= LARGEST and value > 0
        ):
            raise _out_of_range(
                name, value, f"{'(' if least == 0 else '['}{least:g}, 1e18]", f"{usual:g}"
            )


def _check(case: RunSpec) -> None:
    for name in ("epoch", "total"):
        value = getattr(case, name)
        if value is not None and not case.batch <= value:
            raise BadInput(
                "The run is shorter than one batch"
                if name == "total"
                else "The batch is larger than the data",
                value=value,
                allowed=f"[{case.batch:g}, inf) {case.unit}",
                where="--tokens" if case.unit == "tokens" else "--dataset-size, --epochs",
                instead=f"--batch-size {max(1, int(value))}"
                if case.unit == "samples"
                else f"--tokens {100 * case.batch:g}",
            )
    if not (isinstance(case.ranks, Integral) and case.ranks >= 1):
        raise _out_of_range("ranks", case.ranks, "1, 2, 3, ...", "8")
    if case.dtype not in DTYPES.values():
        raise BadInput(
            "The number format is unknown",
            value=case.dtype,
            allowed=", ".join(DTYPES),
            where="--dtype",
            instead="--dtype bf16",
        )


def _out_of_range(name: str, value: object, allowed: str, usual: str) -> BadInput:
    option, what = (
        f"--{name.replace('_', '-')}",
        "out of range" if isinstance(value, Real) else "not a number",
    )
    return BadInput(
        f"{name} is {what}", value=value, allowed=allowed, where=option, instead=f"{option} {usual}"
    )
