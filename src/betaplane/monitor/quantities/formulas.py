"""Formulas of single quantities: pure functions of x, g, m and v, each with its unit."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from betaplane.theory import snr_from_update_rms, steady_ratio

TINY = 1e-30  # replaces a zero divisor


def rms(x: Tensor) -> float:
    """Root mean square of a tensor's elements, in their unit; 0 for an empty tensor.

    Example:
        >>> rms(torch.tensor([3.0, -4.0, 0.0, 0.0]))
        2.5
    """
    return float(x.square().mean().sqrt()) if x.numel() else 0.0


def max_abs(x: Tensor) -> float:
    """Largest absolute value of a tensor's elements, in their unit; 0 for an empty tensor."""
    return float(x.abs().max()) if x.numel() else 0.0


def debias(m: Tensor, v: Tensor, t: float, beta1: float, beta2: float) -> tuple[Tensor, Tensor]:
    """The moments as Adam uses them: m_hat = m / (1 - beta1^t), sqrt(v_hat) = sqrt(v / (1 - beta2^t)).

    Args:
        m: first moment, any shape, gradient units.
        v: second moment, like m, >= 0, gradient units squared.
        t: the step that the moments belong to, >= 1.
        beta1: decay of m, in [0, 1).
        beta2: decay of v, in [0, 1).

    Returns:
        m_hat and sqrt(v_hat), both in gradient units.

    Source: D. Kingma, J. Ba, 2015, arXiv:1412.6980, Algorithm 1.

    Example:
        >>> m_hat, root = debias(torch.tensor([0.1]), torch.tensor([0.001]), t=1, beta1=0.9, beta2=0.999)
        >>> round(m_hat.item(), 4), round(root.item(), 4)
        (1.0, 1.0)
    """
    return m / (1 - beta1**t), (v / (1 - beta2**t)).sqrt()


def update(m_hat: Tensor, root: Tensor, eps: float) -> Tensor:
    """Adam's update in units of lr, m_hat / (sqrt(v_hat) + eps); 0 for elements with m_hat = 0.

    Args:
        m_hat: bias-corrected first moment, any shape, gradient units.
        root: sqrt(v_hat), like m_hat.
        eps: >= 0, gradient units.

    Example:
        >>> update(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 0.0]), eps=0.0)
        tensor([0.5000, 0.0000])
    """
    return torch.where(m_hat == 0, 0.0, m_hat / (root + eps))


def rms_ratio(g: Tensor, root: Tensor, eps: float) -> float:
    """How far v lags behind g^2: RMS_t = sqrt(mean(g^2 / max(v, eps^2))); about 1 in a steady state.

    Args:
        g: gradient, any shape.
        root: sqrt(v_hat) after the step, like g.
        eps: lower bound of the root, >= 0, gradient units.

    Returns:
        The ratio, without unit.

    Source: M. Wortsman et al., 2023, arXiv:2304.13013.

    Example:
        >>> round(rms_ratio(torch.tensor([3.0, 1.0]), torch.ones(2), eps=1e-8), 3)
        2.236
    """
    return rms(torch.where(g == 0, 0.0, g / root.clamp_min(max(eps, TINY))))


def max_ratio(m_hat: Tensor, root: Tensor) -> float:
    """Largest |m_hat| / sqrt(v_hat) of a tensor, without unit.

    `betaplane.theory.update_bound` is its upper bound. Elements with v = 0 are skipped, because
    only eps bounds their update.

    Example:
        >>> max_ratio(torch.tensor([1.0, 5.0]), torch.tensor([2.0, 0.0]))
        0.5
    """
    return max_abs((m_hat / root)[root > 0])


def share_below_eps(root: Tensor, g: Tensor, eps: float) -> float:
    """Share of elements with 0 < sqrt(v) < eps, among those with v > 0 and g != 0; in [0, 1].

    eps dominates the update of these elements. If g is 0, v only decays, and there is no gradient
    to scale.

    Example:
        >>> share_below_eps(torch.tensor([0.0, 1e-9, 1e-3, 1.0]), torch.tensor([0.0, 1e-9, 1e-3, 0.0]), eps=1e-8)
        0.5
    """
    seen = root[(root > 0) & (g != 0)]
    return float((seen < eps).float().mean()) if seen.numel() else 0.0


def share_underflowed(g: Tensor, v: Tensor) -> float:
    """Share of elements with v = 0 after a step with g != 0, because g^2 underflowed; in [0, 1].

    Example:
        >>> share_underflowed(torch.tensor([1e-30, 1.0, 0.0, 2.0]), torch.tensor([0.0, 1.0, 0.0, 4.0]))
        0.25
    """
    return float(((v == 0) & (g != 0)).float().mean()) if g.numel() else 0.0


def sign_agreement(m: Tensor, g: Tensor) -> float:
    """Share of elements with equal signs of m and g, among those with neither 0; in [0, 1].

    Independent signs give 0.5.

    Example:
        >>> sign_agreement(torch.tensor([1.0, -1.0, 0.0]), torch.tensor([2.0, 3.0, 1.0]))
        0.5
    """
    product = m * g
    nonzero = product != 0
    return float((product[nonzero] > 0).float().mean()) if nonzero.any() else 0.5


def cosine(a: Tensor, b: Tensor) -> float:
    """Cosine of the angle between two tensors, in [-1, 1]; 0 if one of them is 0.

    For consecutive gradients this is their lag-1 correlation: near 0 for noise, near -1 if the
    weights oscillate.

    Example:
        >>> round(cosine(torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])), 4)
        -0.7071
    """
    return float((a * b).sum() / (a.norm() * b.norm()).clamp_min(TINY))


def angle(x: Tensor, step: Tensor) -> float:
    """Angle between x and x + step in radians, in [0, pi]: how far a step rotates the weights.

    Example:
        >>> round(angle(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])), 4)
        0.7854
    """
    xx, xs, ss = (
        float((a.double() * b.double()).sum()) for a, b in ((x, x), (x, step), (step, step))
    )
    return math.atan2(math.sqrt(max(0.0, xx * ss - xs * xs)), xx + xs) if xx else 0.0


def balance(
    update_rms: float, weight_rms: float, lr: float, weight_decay: float, beta1: float
) -> float:
    r"""Update norm over weight norm, relative to AdamW's equilibrium; 1 there, nan without decay.

    ```
    |u| / |x| sqrt((1 + beta1) / (1 - beta1)) / sqrt(2 weight_decay / lr)
    ```

    The root accounts for the correlation of successive updates: beta1 makes each of them smaller,
    but not their sum. Above 1 the weights grow; below 1 they shrink.

    Args:
        update_rms: RMS of the update in units of lr, >= 0.
        weight_rms: RMS of the weights, >= 0.
        lr: learning rate, > 0.
        weight_decay: as in torch's AdamW (multiplied by lr), >= 0.
        beta1: decay of m, in [0, 1).

    Source: A. Defazio, 2025, arXiv:2506.02285, as `betaplane.theory.steady_ratio`, with the update
    instead of the gradient; the root from A. Kosson et al., 2023, arXiv:2305.17212; checked by a
    random walk.

    Example:
        >>> round(balance(update_rms=0.2294, weight_rms=0.0707, lr=1e-3, weight_decay=0.1, beta1=0.9), 2)
        1.0
    """
    if not (lr > 0 and weight_decay > 0 and weight_rms > 0):
        return math.nan
    uncorrelated = update_rms * math.sqrt((1 + beta1) / (1 - beta1))
    return uncorrelated / weight_rms / float(steady_ratio(lr, weight_decay))


def variation(roots: Tensor, beta2: float) -> float:
    r"""Coefficient of variation of sqrt(v) over time, the median over elements; without unit.

    It is computed from differences between steps, so that a slow trend of v does not count as
    noise:

    ```
    Var(r) = E[(r_t - r_{t-1})^2] / (2 (1 - beta2))        r = sqrt(v);  exact for beta2 = 0, and as beta2 -> 1
    ```

    Args:
        roots: sqrt(v) after consecutive steps, (K, n), K >= 2, gradient units.
        beta2: decay of v, in [0, 1).

    Returns:
        The median over elements that are not 0; 0 if all are 0. Normal gradients have 0.76 at
        beta2 = 0 and 0.02 at 0.999.

    Source: v is a first-order autoregression with coefficient beta2; derived, checked by
        simulation.

    Example:
        >>> roots = torch.randn(20_000, 5, generator=torch.Generator().manual_seed(0)).abs()
        >>> abs(variation(roots, beta2=0.0) - 0.7555) < 0.02
        True
    """
    mean = roots.mean(0)
    deviation = (roots.diff(dim=0).square().mean(0) / (2 * (1 - beta2))).sqrt()
    nonzero = mean > 0
    return float((deviation[nonzero] / mean[nonzero]).median()) if nonzero.any() else 0.0


def signal_to_noise(update_rms: float, beta1: float) -> float:
    """Signal-to-noise ratio (of powers) of the gradients, from the update's RMS in units of lr.

    It is inf if the RMS is 1 or more.

    Source: J. Su, 2025, kexue.fm/archives/11267, as `betaplane.theory.snr_from_update_rms`.

    Example:
        >>> round(signal_to_noise(0.3725, beta1=0.9), 3), signal_to_noise(1.2, beta1=0.9)
        (0.1, inf)
    """
    return float(snr_from_update_rms(update_rms, beta1)) if update_rms < 1 else math.inf
