"""Recommend all settings of AdamW from the known properties of a run."""

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
from betaplane.advice.run_spec import DTYPES, RunSpec, check_ranges
from betaplane.advice.settings import EXAMPLE, Settings, missing_batch_size, settings
from betaplane.advice.warmup import warmup
from betaplane.errors import BadInput

GivenSettings = str | Mapping[str, float] | Settings


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
    before: GivenSettings | None = None,
    after: GivenSettings | None = None,
    map: str | Path | None = None,
    replay: str | Path | None = None,
    checkpoint: str | Path | None = None,
    evidence_file: str | Path = FILE,
) -> Advice:
    """Recommend settings for AdamW, with reasons and sources.

    Give the batch size, in samples or tokens, and all else that you know of the run; or give a
    setting that works and the batch size to carry it over to.

    Args:
        batch_size: samples per step, >= 1.
        dataset_size: samples in one epoch, >= batch_size.
        epochs: passes over the data, > 0.
        batch_tokens: tokens per step, >= 1, instead of batch_size.
        tokens: tokens in the whole run, >= batch_tokens.
        params: parameters of the model, >= 1.
        dtype: dtype of the forward pass: float32, bfloat16 (bf16) or float16 (fp16).
        ranks: devices the batch is split over, >= 1.
        memory: GB per device for weights, gradients and optimizer states, > 0.
        before: settings that work, "batch=512,lr=3e-4,betas=0.9,0.95,wd=0.1,warmup=2000", or a
            mapping.
        after: the batch size to carry them over to, "batch=64", and nothing else.
        map: the store of a map of your problem; its window of beta2 has priority.
        replay: gradients that `betaplane record` wrote; beta2 is raised to their threshold.
        checkpoint: a file with the state dict of an optimizer, read without running code. Its
            settings are used if `before` is not given, and its second moments for eps.
        evidence_file: published numbers, in the form of the package's own evidence.toml.

    Returns:
        Advice: one row per hyperparameter, with range, reason, formula, sources and confidence;
            warnings; lines to paste.

    Raises:
        BadInput: a value is out of its range, the batch size is missing or given twice, or a file
            is invalid.

    Source: each row names its own.

    Example:
        >>> advice = advise(before="batch=512,lr=3e-4,betas=0.9,0.95,wd=0.1,warmup=2000", after="batch=64")
        >>> advice["beta2"].text, advice["beta2"].range, advice["lr"].text, advice["warmup"].text
        ('0.9936', '[0.974, 0.9984]', '0.000194', '16000')
        >>> print(advice["beta2"].reason)
        Keeps the memory of v, in samples, the same as in your working setting.
        >>> advise(32, dataset_size=60_000, epochs=10).settings["betas"]
        (0.9, 0.999)
    """
    check_ranges(
        batch_size=batch_size, batch_tokens=batch_tokens, dataset_size=dataset_size, tokens=tokens
    )
    check_ranges(epochs=epochs, params=params, memory=memory)
    state = read_checkpoint(checkpoint) if checkpoint is not None else None
    worked, batch, unit = _batch(
        batch_size, batch_tokens, before, after, state.settings if state else None
    )
    _check_unit(map or replay, unit)
    _check_length(unit, dataset_size=dataset_size, epochs=epochs, tokens=tokens)
    run = RunSpec(
        batch=batch,
        unit=unit,
        total=tokens if unit == "tokens" else _total(dataset_size, epochs),
        epoch=dataset_size,
        params=state.numbers if params is None and state else params,
        dtype=DTYPES.get(str(dtype), dtype),
        ranks=ranks,
        memory=memory,
        before=worked,
        checkpoint=state,
        evidence=evidence(Path(evidence_file)),
    )
    b1 = float(beta1(run).row.value)
    if map is not None:
        run = replace(run, map=window(map, batch, b1))
    if replay is not None:
        run = replace(run, replay=threshold(replay, batch, b1))
    return _decide(run)


def _check_unit(file: str | Path | None, unit: str) -> None:
    """Reject a map or a recording together with a batch size in tokens."""
    if file is not None and unit == "tokens":
        raise BadInput(
            "Maps and recordings count samples",
            value=str(file),
            allowed="`batch_size` or `after`",
            where="map, replay",
            instead="batch_size=32",
        )


def _decide(run: RunSpec) -> Advice:
    """Decide on all hyperparameters, in the order in which they depend on each other."""
    first = beta1(run)
    b1 = float(first.row.value)
    second = beta2(run, b1)
    b2 = float(second.row.value)
    first = replace(
        first, row=replace(first.row, high=max(b1, min(first.row.high or b1, math.sqrt(b2))))
    )
    rate = lr(run)
    form = states(run, b2)
    decisions = (
        first, second, eps(run), rate, warmup(run, b2), decay(run, float(rate.row.value)), clipping(run, b1, b2),
        accumulation(run), form, zero(run, str(form.row.value)),
    )  # fmt: skip
    return _advice(run, decisions)


def _advice(run: RunSpec, decisions: tuple[Decision, ...]) -> Advice:
    rows = tuple(decision.row for decision in decisions)
    candidates = {decision.row.name: decision.candidates for decision in decisions}
    warnings = [warning for decision in decisions for warning in decision.warnings]
    warnings += filter(None, (disagreement(name, values) for name, values in candidates.items()))
    entries = [*rows, *(candidate for values in candidates.values() for candidate in values)]
    names = sorted({name for entry in entries for name in entry.sources})
    sources = {name: run.evidence.sources[name] for name in names}
    return Advice(str(run), rows, candidates, tuple(warnings), sources)


def _batch(
    samples: float | None,
    tokens: float | None,
    before: GivenSettings | None,
    after: GivenSettings | None,
    stored: Settings | None,
) -> tuple[Settings | None, float, str]:
    """The working setting, the batch size to recommend for, and its unit.

    `stored` has the settings of a checkpoint, used if `before` is not given.
    """
    worked = settings(before, "before") if before is not None else None
    wanted = _new_batch(after) if after is not None else None
    batches = [value for value in (samples, tokens, wanted) if value is not None]
    batch = batches[0] if batches else (worked.batch if worked else None)
    if batch is None or len(batches) > 1:
        raise BadInput(
            "The batch size is missing" if batch is None else "The batch size is given twice",
            value=BadInput.MISSING if batch is None else tuple(batches),
            allowed="one of `batch_size`, `batch_tokens`, `after`",
            where="advise",
            instead="batch_size=32",
        )
    if after is not None and worked is None:
        raise BadInput(
            "There are no settings to carry over",
            allowed="`after` together with `before`",
            where="after",
            instead=f'before="{EXAMPLE}"',
        )
    if worked is None and stored is not None:
        worked = replace(stored, batch=batch)
    elif worked is not None and worked.batch is None:
        raise missing_batch_size()
    return worked, batch, "samples" if tokens is None else "tokens"


def _new_batch(after: GivenSettings) -> float:
    """The batch size to carry settings over to."""
    new = settings(after, "after")
    if new.batch is None or new != Settings(batch=new.batch):
        raise BadInput(
            "`after` must be a batch size and nothing else",
            value=after,
            allowed="batch=...",
            where="after",
            instead=f'after="batch={new.batch or 64:g}"',
        )
    return new.batch


def _check_length(unit: str, **lengths: float | None) -> None:
    """Reject a length of the run in the other unit, and epochs without the size of the data."""
    foreign = ("tokens",) if unit == "samples" else ("dataset_size", "epochs")
    for name in foreign:
        if lengths[name] is not None:
            needed = "batch_tokens" if unit == "samples" else "batch_size"
            raise BadInput(
                f"`{name}` needs `{needed}`",
                value=lengths[name],
                where="advise",
                instead=f"{needed}=32, {name}=...",
            )
    if lengths["epochs"] is not None and lengths["dataset_size"] is None:
        raise BadInput(
            "`epochs` needs `dataset_size`",
            value=lengths["epochs"],
            where="advise",
            instead="dataset_size=60000, epochs=10",
        )


def _total(dataset_size: float | None, epochs: float | None) -> Any:
    return None if dataset_size is None or epochs is None else dataset_size * epochs
