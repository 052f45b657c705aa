"""Reasons to suspect all layers of an optimizer: settings, and moments that no gradients give.

With the weights w of the moments at step t and gradients that do not cancel, the ratio

```
q^2 = sum m_hat^2 / sum v_hat    over all elements
```

is between the share of the oldest gradient and 1. For independent gradients without a mean its
expectation is K = sum_i w_i^2 = (1 - beta1) / (1 + beta1) (1 + beta1^t) / (1 - beta1^t).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median

from betaplane.checkpoints.findings import Suspicion
from betaplane.checkpoints.health import Health, corrections
from betaplane.checkpoints.layer import GroupSettings, Layer
from betaplane.text import plural

MAX_RATIO = 1.5  # of q; growing gradients give more than 1, and healthy runs grow them slowly
MIN_RATIO_SHARE = 0.05  # of sqrt(K); below it updates are 20 times smaller than noise gives
MIN_REMEMBERED_NORM = 30.0  # of the gradient, root of the sum of v_hat; losses are of order 1
MIN_OLDEST_SHARE = 0.5  # of the smallest q that gradients give that do not cancel
MAX_EVENNESS = 0.3  # of |m_hat| / sqrt(v_hat); elements differ by about 1 in healthy runs
MAX_EVENNESS_SHARE = 0.5  # of that of steady gradients with noise, at the same ratio
QUARTILES = 1.349  # interquartile range of a normal variable, in standard deviations
EVEN_RATIO = 0.1  # distance of q from 1 below which a constant gradient explains it
MIN_EVEN_STEPS = 20  # before, m and v average the same few gradients, and their ratio is even
MIN_COUNT_FACTOR = 2.0  # between the count of a layer and that of most layers
MAX_DECAY = 1.0  # of lr times weight_decay: a weight changes its sign above


def pooled_suspicions(layers: Sequence[Layer], measured: Sequence[Health]) -> list[Suspicion]:
    """The reasons to suspect one optimizer.

    Args:
        layers: all of its layers.
        measured: their health.
    """
    kinds = dict.fromkeys((layer.settings, layer.v is not None) for layer in layers)
    reasons = [reason for kind in kinds for reason in _settings(*kind)]
    pairs = [(x, h) for x, h in zip(layers, measured, strict=True) if _is_usable(x, h)]
    moments = list(_moments(pairs)) if pairs else []
    return [*dict.fromkeys(reasons), *moments, *(() if moments else _single_layers(pairs))]


def _settings(s: GroupSettings, has_v: bool) -> Iterator[Suspicion]:
    for name in ("lr", "eps", "weight_decay"):
        value = getattr(s, name)
        if value is not None and not 0 <= value < math.inf:
            yield Suspicion(True, f"{name} is {value:g}", "setting")
    if s.lr and s.weight_decay and MAX_DECAY < s.lr * s.weight_decay < math.inf:
        what = f"lr x weight_decay is {s.lr * s.weight_decay:g}: decay reverses weights"
        yield Suspicion(True, what, "setting")
    if has_v and s.beta1 and s.beta2 is not None and s.beta1**2 >= s.beta2:
        squares = f"beta1^2 = {s.beta1**2:.4g} >= beta2 = {s.beta2:g}"
        what = f"{squares}: updates are unbounded after gradients fall"
        yield Suspicion(True, what, "betas")


def _is_usable(layer: Layer, h: Health) -> bool:
    """Whether m and v of a layer can be compared."""
    s = layer.settings
    return (
        layer.adam
        and s.corrected
        and s.beta1 is not None
        and s.beta2 is not None
        and h.t >= 1
        and not (h.spoiled or h.negative or h.mismatched)
        and h.root_denominator > 0
        and h.m_zero < 1
        and h.erased == 0
        and not h.exceeds_bound
        and corrections(layer) is not None
    )


def _moments(pairs: Sequence[tuple[Layer, Health]]) -> Iterator[Suspicion]:
    """The reasons in the ratio of the moments, of which at most one holds."""
    m = math.sqrt(sum(h.numbers * _m_hat(layer, h) ** 2 for layer, h in pairs))
    v = math.sqrt(sum(h.numbers * h.root_denominator**2 for _, h in pairs))
    noise = median(_noise_ratio(layer) for layer, _ in pairs)
    oldest = median(_oldest_ratio(layer) for layer, _ in pairs)
    q, t = m / v, median(h.t for _, h in pairs)
    many = plural(len(pairs), "layer")
    if q > MAX_RATIO:
        what = f"|m_hat| / sqrt(v_hat) is {q:.2g} over {many}, about {noise:.2g} in noise and 1 at "
        what += "most in steady gradients: the count is ahead of its moments, betas were changed, "
        yield Suspicion(True, what + "or gradients have just grown", "above-steady")
    elif t >= MIN_EVEN_STEPS and _one_gradient([h for _, h in pairs], q, noise):
        what = f"|m_hat| / sqrt(v_hat) is {q:.2g} in nearly all elements of {many}: one gradient"
        yield Suspicion(True, f"{what} is far larger than all others in m and v", "one-gradient")
    elif q < MIN_OLDEST_SHARE * oldest:
        what = f"|m_hat| / sqrt(v_hat) is {q:.2g} over {many}, at least {oldest:.2g} after {t:g} "
        what += (
            "steps whose gradients do not cancel: the count was reset, or v is of other gradients"
        )
        yield Suspicion(True, what, "step-reset")
    elif q < MIN_RATIO_SHARE * noise:
        norm = f"gradients of norm {v:.3g} in v_hat, of about {m / noise:.2g} in m"
        what = f"{norm}: v is stale, and updates are {q:.2g} lr where noise gives {noise:.2g}"
        yield Suspicion(v > MIN_REMEMBERED_NORM, what, "stale-v")


def _single_layers(pairs: Sequence[tuple[Layer, Health]]) -> Iterator[Suspicion]:
    """The reasons to suspect the count or the v of one layer, if all together are healthy."""
    usual = median(h.t for _, h in pairs) if pairs else math.nan
    for layer, h in pairs:
        q, noise, v = _m_hat(layer, h) / h.root_denominator, _noise_ratio(layer), h.root_denominator
        if q > MAX_RATIO and h.t > MIN_COUNT_FACTOR * usual:
            what = f"{layer.name}: its step is {h.t:g} where most layers have {usual:g}, and "
            what += f"|m_hat| / sqrt(v_hat) is {q:.2g}: the count is ahead of its moments"
            yield Suspicion(True, what, "above-steady")
        elif q < MIN_RATIO_SHARE * noise and v * math.sqrt(h.numbers) > MIN_REMEMBERED_NORM:
            norms = f"v_hat remembers gradients of RMS {v:.3g}, m of about {q * v / noise:.2g}"
            yield Suspicion(True, f"{layer.name}: {norms}: v is stale", "stale-v")


def _one_gradient(measured: Sequence[Health], q: float, noise: float) -> bool:
    """Whether layers with most elements have the same ratio throughout, other than 1."""
    known = [h for h in measured if math.isfinite(h.evenness)]
    limit = min(MAX_EVENNESS, MAX_EVENNESS_SHARE * _steady_evenness(q, noise))
    even = sum(h.numbers for h in known if h.evenness < limit)
    return 2 * even > sum(h.numbers for h in known) and abs(q - 1) > EVEN_RATIO


def _steady_evenness(q: float, noise: float) -> float:
    """The evenness of gradients of mean c and deviation 1, for the c that gives this ratio q:
    q^2 = (c^2 + noise^2) / (c^2 + 1), and m_hat is normal with mean c and deviation noise.
    """
    mean2 = (q**2 - noise**2) / (1 - q**2) if noise < q < 1 else 0.0
    return QUARTILES * noise / math.sqrt(mean2) if mean2 > 0 else math.inf


def _m_hat(layer: Layer, h: Health) -> float:
    """The RMS of m_hat."""
    factors = corrections(layer)
    return h.m_rms * (factors[0] if factors else math.nan)


def _noise_ratio(layer: Layer) -> float:
    """sqrt(K): the expected q of independent gradients without a mean."""
    beta1, t = layer.settings.beta1 or 0.0, layer.t or 1.0
    return math.sqrt((1 - beta1) / (1 + beta1) * (1 + beta1**t) / (1 - beta1**t))


def _oldest_ratio(layer: Layer) -> float:
    """The ratio if only the first gradient was not 0: the smallest without cancellation."""
    beta1, beta2, t = layer.settings.beta1 or 0.0, layer.settings.beta2 or 0.0, layer.t or 1.0
    first = (1 - beta1) * beta1 ** (t - 1) / (1 - beta1**t)
    square = (1 - beta2) * beta2 ** (t - 1) / (1 - beta2**t)
    return first / math.sqrt(square) if square > 0 else 0.0
