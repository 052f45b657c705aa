"""Loss curves in one byte per point, so that a page with thousands of them stays small."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from betaplane.maps.phase_map import PhaseMap

# codes of finite losses, from the lowest to the highest of a curve; code 0 is a loss that is not
# finite
LEVELS = 254


def encode(phase_map: PhaseMap, curves: Sequence[np.ndarray]) -> dict[str, Any]:
    """Curves as codes: code 1 + LEVELS * (u - low) / (high - low), where u is the loss on the map's
    scale.

    The scale is log10(loss) if every loss is positive, else asinh((loss - best) / unit).

    Returns:
        Data that page.js decodes: scale, unit, best; length, low and high of each curve; all codes in
        base64.
    """
    finite = [
        curve[np.isfinite(curve)]
        for curve in (np.asarray(losses, dtype=float) for losses in curves)
    ]
    log = all((curve > 0).all() for curve in finite)
    best = float(phase_map.best) if np.isfinite(phase_map.best) else 0.0
    drop = abs(float(phase_map.initial) - best)
    unit = drop / 100 if np.isfinite(drop) and drop > 0 else 1.0
    scaled = [_scaled(np.asarray(curve, dtype=float), log, best, unit) for curve in curves]
    ends = [_ends(curve) for curve in scaled]
    codes = [_codes(curve, *end) for curve, end in zip(scaled, ends, strict=True)]
    return {
        "log": log, "best": best, "unit": unit, "levels": LEVELS, "lengths": [len(curve) for curve in codes],
        "lows": [float(f"{low:.5g}") for low, _ in ends], "highs": [float(f"{high:.5g}") for _, high in ends],
        "codes": base64.b64encode(b"".join(curve.tobytes() for curve in codes)).decode(),
    }  # fmt: skip


def _scaled(curve: np.ndarray, log: bool, best: float, unit: float) -> np.ndarray:
    """Losses on the scale of the map; NaN if a loss is not finite."""
    finite = np.where(np.isfinite(curve), curve, np.nan)
    return np.log10(finite) if log else np.arcsinh((finite - best) / unit)


def _ends(scaled: np.ndarray) -> tuple[float, float]:
    known = scaled[np.isfinite(scaled)]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)


def _codes(scaled: np.ndarray, low: float, high: float) -> np.ndarray:
    share = (scaled - low) / ((high - low) or 1.0)
    return np.where(np.isfinite(scaled), 1 + np.rint(LEVELS * np.nan_to_num(share)), 0).astype(
        np.uint8
    )


def axis(phase_map: PhaseMap, curves: Sequence[np.ndarray]) -> dict[str, Any]:
    """One loss axis for all curves: whether it is logarithmic, its ends, the levels of verdicts.

    It ends a little above the initial loss; diverging curves leave through the top. If batch size
    or an option of the problem is an axis there are no levels, since each value is scored against
    its own best loss; nor are there on a log scale.
    """
    initial, best = float(phase_map.initial), float(phase_map.best)
    finite = np.concatenate([np.asarray(curve, dtype=float) for curve in curves] or [np.zeros(0)])
    finite = finite[np.isfinite(finite)]
    if not (np.isfinite([initial, best]).all() and initial > best and len(finite)):
        return {"log": False, "ends": None, "levels": []}
    drop = initial - best
    shares = (phase_map.thresholds.good, phase_map.thresholds.failing)
    levels = (
        []
        if "batch_size" in (phase_map.x.name, phase_map.y.name)
        or phase_map.x.of_problem
        or phase_map.y.of_problem
        or phase_map.score == "log"
        or phase_map.judge == "gradient-norm"
        else [best + share * drop for share in shares]
    )
    low = min(float(finite.min()), best if best > 0 else initial)
    if low <= 0 or initial / low < 8:
        return {
            "log": False,
            "ends": [min(best, low) - 0.06 * drop, initial + 0.5 * drop],
            "levels": levels,
        }
    reach = np.log10(initial / low)
    return {
        "log": True,
        "ends": [np.log10(low) - 0.05 * reach, np.log10(initial) + 0.25 * reach],
        "levels": levels,
    }
