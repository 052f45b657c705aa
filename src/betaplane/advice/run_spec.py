"""The run that settings are recommended for: batch, length, model, old settings, measurements."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Integral, Real

from betaplane.advice.evidence import Evidence, evidence
from betaplane.advice.measurements import Checkpoint, Threshold, Window
from betaplane.advice.settings import Settings, carried
from betaplane.cached import cached_property
from betaplane.errors import BadInput, unknown

DTYPES = {
    "float32": "float32",
    "fp32": "float32",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float16": "float16",
    "fp16": "float16",
}


@dataclass(frozen=True)
class RunSpec:
    """The known properties of a run; None if a property is unknown."""

    batch: float  # units per step, >= 1
    unit: str = "samples"  # or "tokens"
    total: float | None = None  # units in the whole run, >= batch
    epoch: float | None = None  # units in one pass over the data, >= batch
    params: float | None = None  # of the model, >= 1
    dtype: str = "float32"  # of the forward pass
    ranks: int = 1  # devices
    memory: float | None = None  # GB per device, > 0, for weights, gradients and states
    before: Settings | None = None  # the setting that worked at another batch size
    map: Window | None = None  # the window of beta2 on a map
    replay: Threshold | None = None  # the threshold of beta2 in recorded gradients
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
        """Minibatches in one pass over the data, the n of the theorems.

        Language models see each token once, so the whole run is one pass.
        """
        seen = self.epoch or (self.total if self.unit == "tokens" else None)
        return None if seen is None else seen / self.batch

    @cached_property
    def carried(self) -> Settings:
        """The old setting at the new batch size; all None if there is no old setting."""
        return Settings() if self.before is None else carried(self.before, self.batch)

    @property
    def factor(self) -> float:
        """The batch size over the old one."""
        if self.before is None or self.before.batch is None:
            return 1.0
        return self.batch / self.before.batch

    def __str__(self) -> str:
        parts = [f"batch of {self.batch:,.6g} {self.unit}"]
        if self.before:
            parts.append(f"{self.factor:.4g} times the old one")
        if self.steps:
            parts.append(f"{self.steps:,.0f} steps")
        if self.epoch:
            parts.append(f"{self.minibatches:,.0f} per epoch")
        if self.params:
            parts.append(f"{self.params:,.6g} parameters")
        return ", ".join(parts)


MAX_ARGUMENT = 1e18
LIMITS = {  # smallest allowed value, example
    "batch_size": (1.0, 32),
    "batch_tokens": (1.0, 524_288),
    "dataset_size": (1.0, 60_000),
    "tokens": (1.0, 10e9),
    "epochs": (0.0, 10),
    "params": (1.0, 124e6),
    "memory": (0.0, 80),
}


def check_ranges(**arguments: float | None) -> None:
    """Raise BadInput for the first argument of `advise` that is not a number in its range."""
    for name, value in arguments.items():
        least, example = LIMITS[name]
        if value is not None and not (
            isinstance(value, Real) and least <= value <= MAX_ARGUMENT and value > 0
        ):
            raise _out_of_range(
                name, value, f"{'(' if least == 0 else '['}{least:g}, 1e18]", f"{example:g}"
            )


def _check(run: RunSpec) -> None:
    for name in ("epoch", "total"):
        value = getattr(run, name)
        if value is not None and not run.batch <= value:
            raise BadInput(
                "The run is shorter than one batch"
                if name == "total"
                else "The batch is larger than the data",
                value=value,
                allowed=f"[{run.batch:g}, inf) {run.unit}",
                where="tokens" if run.unit == "tokens" else "dataset_size, epochs",
                instead=f"batch_size={max(1, int(value))}"
                if run.unit == "samples"
                else f"tokens={100 * run.batch:g}",
            )
    if not (isinstance(run.ranks, Integral) and run.ranks >= 1):
        raise _out_of_range("ranks", run.ranks, "1, 2, 3, ...", "8")
    if run.dtype not in DTYPES.values():
        raise unknown("dtype", run.dtype, DTYPES, where="dtype", instead='dtype="{}"')


def _out_of_range(name: str, value: object, allowed: str, example: str) -> BadInput:
    fault = "out of range" if isinstance(value, Real) else "not a number"
    return BadInput(
        f"{name} is {fault}",
        value=value,
        allowed=allowed,
        where=name,
        instead=f"{name}={example}",
    )
