"""From what people know of a run to advice on every hyperparameter of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from betaplane.advice.advice import Advice
from betaplane.advice.beta1 import beta1
from betaplane.advice.beta2 import beta2
from betaplane.advice.clipping import clipping
from betaplane.advice.decay import decay
from betaplane.advice.eps import eps
from betaplane.advice.evidence import FILE, evidence
from betaplane.advice.lr import lr
from betaplane.advice.measurements import read_checkpoint, threshold, window
from betaplane.advice.memory import accumulation, states, zero
from betaplane.advice.recommendation import Decision, disagreement
from betaplane.advice.run_spec import DTYPES, RunSpec, inside
from betaplane.advice.settings import EXAMPLE, Settings, settings
from betaplane.advice.warmup import warmup
from betaplane.errors import BadInput

Said = str | Mapping[str, float] | Settings


def advise(
    batch_size: float | None = None,
    *,
    dataset_size: float | None = None,
    epochs: float | None = None,
    batch_tokens: float | None = None,
    tokens: float | None = None,
    params: float | None = None,
    dtype: str = "float32",
    ranks: int = 1,
    memory: float | None = None,
    before: Said | None = None,
    after: Said | None = None,
    map: str | Path | None = None,
    replay: str | Path | None = None,
    checkpoint: str | Path | None = None,
    evidence_file: str | Path = FILE,
) -> Advice:
    """Settings for AdamW with their reasons, from what is known of a run.

    Give the batch, in samples or tokens, and what else you know; or a setting that worked and the batch size it is to
    be carried over to.

    Args:
        batch_size: samples a step, >= 1.
        dataset_size: samples in one epoch, >= batch_size.
        epochs: passes over the data, > 0.
        batch_tokens: tokens a step, >= 1, in place of batch_size.
        tokens: tokens in the whole run, >= batch_tokens.
        params: parameters of the model, >= 1.
        dtype: of the forward pass: float32, bfloat16 (bf16) or float16 (fp16).
        ranks: devices the batch is split over, >= 1.
        memory: GB of a device for weights, gradients and states, > 0.
        before: settings that worked, "batch=512,lr=3e-4,betas=0.9,0.95,wd=0.1,warmup=2000", or a mapping.
        after: the batch size they are wanted for, "batch=64", and nothing else.
        map: the store of a map of your problem; its window of beta2 comes first.
        replay: gradients that `betaplane record` wrote; beta2 is raised to the threshold they show.
        checkpoint: a file with the state dict of an optimizer, read without running code; its settings are `before`
            where nothing else is, and its second moments tell of eps.
        evidence_file: published numbers, in the form of the package's own evidence.toml.

    Returns:
        Advice: one row a hyperparameter, with range, reason, formula, source and confidence; warnings; lines to paste.

    Raises:
        BadInput: a value is out of its range, the batch is missing or said twice, or a file is not what it should be.

    Source: each row names its own.

    Example:
        >>> advice = advise(before="batch=512,lr=3e-4,betas=0.9,0.95,wd=0.1,warmup=2000", after="batch=64")
        >>> advice["beta2"].text, advice["beta2"].range, advice["lr"].text, advice["warmup"].text
        ('0.9936', '[0.974, 0.9984]', '0.000106', '16000')
        >>> print(advice["beta2"].reason)
        v then remembers as many samples as it did where your setting worked.
        >>> advise(32, dataset_size=60_000, epochs=10).settings["betas"]
        (0.9, 0.9985)
    """
    inside(
        batch_size=batch_size, batch_tokens=batch_tokens, dataset_size=dataset_size, tokens=tokens
    )
    inside(epochs=epochs, params=params, memory=memory)
    found = read_checkpoint(checkpoint) if checkpoint is not None else None
    worked, batch, unit = _batch(
        batch_size, batch_tokens, before, after, found.settings if found else None
    )
    _in_samples(map or replay, unit)
    _only(unit, dataset_size=dataset_size, epochs=epochs, tokens=tokens)
    case = RunSpec(
        batch=batch,
        unit=unit,
        total=tokens if unit == "tokens" else _total(dataset_size, epochs),
        epoch=dataset_size,
        params=found.numbers if params is None and found else params,
        dtype=DTYPES.get(str(dtype), dtype),
        ranks=ranks,
        memory=memory,
        before=worked,
        checkpoint=found,
        evidence=evidence(Path(evidence_file)),
    )
    b1 = float(beta1(case).row.value)
    if map is not None:
        case = replace(case, map=window(map, batch, b1))
    if replay is not None:
        case = replace(case, replay=threshold(replay, batch, b1))
    return _ruled(case)


def _in_samples(file: str | Path | None, unit: str) -> None:
    """Refuse a map or a recording beside a batch in tokens."""
    if file is not None and unit == "tokens":
        raise BadInput(
            "Maps and recordings count samples",
            value=str(file),
            allowed="--batch-size or --to",
            where="--map, --replay",
            instead="--batch-size 32",
        )


def _ruled(case: RunSpec) -> Advice:
    """Every ruling in the order in which they need each other."""
    first = beta1(case)
    b1 = float(first.row.value)
    second = beta2(case, b1)
    b2 = float(second.row.value)
    first = replace(
        first, row=replace(first.row, high=max(b1, min(first.row.high or b1, math.sqrt(b2))))
    )
    rate = lr(case)
    form = states(case, b2)
    rulings = (
        first, second, eps(case), rate, warmup(case, b2), decay(case, float(rate.row.value)), clipping(case, b1, b2),
        accumulation(case), form, zero(case, str(form.row.value)),
    )  # fmt: skip
    return _told(case, rulings)


def _told(case: RunSpec, rulings: tuple[Decision, ...]) -> Advice:
    rows = tuple(ruling.row for ruling in rulings)
    candidates = {ruling.row.name: ruling.candidates for ruling in rulings}
    apart = [disagreement(name, held) for name, held in candidates.items()]
    warnings = (
        *(note for ruling in rulings for note in ruling.warnings),
        *(note for note in apart if note),
    )
    named = {name for row in rows for name in row.sources}
    named |= {name for held in candidates.values() for one in held for name in one.sources}
    return Advice(
        str(case),
        rows,
        candidates,
        warnings,
        {name: case.evidence.sources[name] for name in sorted(named)},
    )


def _batch(
    samples: float | None,
    tokens: float | None,
    before: Said | None,
    after: Said | None,
    kept: Settings | None,
) -> tuple[Settings | None, float, str]:
    """The setting that worked, the batch it is wanted for, and its unit."""
    worked = settings(before, "--from") if before is not None else None
    wanted = _wanted(after) if after is not None else None
    given = [value for value in (samples, tokens, wanted) if value is not None]
    batch = given[0] if given else (worked.batch if worked else None)
    if batch is None or len(given) > 1:
        raise BadInput(
            "The batch size is missing" if batch is None else "The batch size is said twice",
            value=BadInput.MISSING if batch is None else tuple(given),
            allowed="one of --batch-size, --batch-tokens, --to",
            where="advise",
            instead="--batch-size 32",
        )
    if after is not None and worked is None:
        raise BadInput(
            "There is nothing to carry over",
            allowed="--to with --from",
            where="--to",
            instead=f'--from "{EXAMPLE}"',
        )
    if worked is None and kept is not None:
        worked = replace(kept, batch=batch)
    elif worked is not None and worked.batch is None:
        raise BadInput(
            "The settings do not say their batch size",
            allowed="batch=...",
            where="--from",
            instead=EXAMPLE,
        )
    return worked, batch, "samples" if tokens is None else "tokens"


def _wanted(after: Said) -> float:
    """The batch size, which is all that --to can say."""
    wanted = settings(after, "--to")
    if wanted.batch is None or wanted != Settings(batch=wanted.batch):
        raise BadInput(
            "--to takes a batch size and nothing else",
            value=after,
            allowed="batch=...",
            where="--to",
            instead=f"batch={wanted.batch or 64:g}",
        )
    return wanted.batch


def _only(unit: str, **given: float | None) -> None:
    """Refuse what belongs to the other unit, and epochs of no data."""
    foreign = ("tokens",) if unit == "samples" else ("dataset_size", "epochs")
    for name in foreign:
        if given[name] is not None:
            other = "--batch-tokens" if unit == "samples" else "--batch-size"
            option = f"--{name.replace('_', '-')}"
            raise BadInput(
                f"{option} goes with {other}",
                value=given[name],
                where="advise",
                instead=f"{other} 32 {option} ...",
            )
    if given["epochs"] is not None and given["dataset_size"] is None:
        raise BadInput(
            "--epochs goes with --dataset-size",
            value=given["epochs"],
            where="advise",
            instead="--dataset-size 60000 --epochs 10",
        )


def _total(dataset_size: float | None, epochs: float | None) -> Any:
    return None if dataset_size is None or epochs is None else dataset_size * epochs
