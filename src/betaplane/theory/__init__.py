"""Closed forms with their sources: divergence boundary, memory horizons, learning-rate schedules, bytes of states."""

from betaplane.theory.boundary import (
    critical_beta2,
    critical_first_order,
    critical_with_replacement,
    diverges,
    drift,
)
from betaplane.theory.horizon import beta_from_half_life, beta_from_horizon, half_life, memory_horizon
from betaplane.theory.memory import deepspeed_bytes, number_bytes, state_bytes, zero_bytes
from betaplane.theory.schedules import multipliers

__all__ = [
    "beta_from_half_life",
    "beta_from_horizon",
    "critical_beta2",
    "critical_first_order",
    "critical_with_replacement",
    "deepspeed_bytes",
    "diverges",
    "drift",
    "half_life",
    "memory_horizon",
    "multipliers",
    "number_bytes",
    "state_bytes",
    "zero_bytes",
]
