"""Closed forms with their sources: divergence boundary, memory horizons, learning-rate schedules, bytes of states."""

from betaplane.theory.bias_correction import (
    adafactor_beta2,
    correction,
    debiased_beta,
    influence,
    steps_until_corrected,
)
from betaplane.theory.boundary import (
    critical_beta2,
    critical_first_order,
    critical_with_replacement,
    diverges,
    drift,
)
from betaplane.theory.bounds import blow_up_rate, extremal_gradients, kingma_ba_claim, update_bound
from betaplane.theory.bounds_relatives import adamax_bound, atan2_bound, laprop_bound
from betaplane.theory.horizon import beta_from_half_life, beta_from_horizon, half_life, memory_horizon
from betaplane.theory.memory import deepspeed_bytes, number_bytes, state_bytes, zero_bytes
from betaplane.theory.schedules import multipliers
from betaplane.theory.transient import Peak, jump, jump_peak

__all__ = [
    "Peak",
    "adafactor_beta2",
    "adamax_bound",
    "atan2_bound",
    "beta_from_half_life",
    "beta_from_horizon",
    "blow_up_rate",
    "correction",
    "critical_beta2",
    "critical_first_order",
    "critical_with_replacement",
    "debiased_beta",
    "deepspeed_bytes",
    "diverges",
    "drift",
    "extremal_gradients",
    "half_life",
    "influence",
    "jump",
    "jump_peak",
    "kingma_ba_claim",
    "laprop_bound",
    "memory_horizon",
    "multipliers",
    "number_bytes",
    "state_bytes",
    "steps_until_corrected",
    "update_bound",
    "zero_bytes",
]
