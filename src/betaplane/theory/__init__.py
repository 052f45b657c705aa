"""Closed forms with their sources: divergence, bounds, memory, stability, warmup, scaling."""

from betaplane.call_errors import explain_calls
from betaplane.theory.adam_field import rest_shift, two_cycle
from betaplane.theory.batch import Scaled, beta_rules_gap, same_half_life, square_root_scaling
from betaplane.theory.batch_lr import adam_lr, sgd_lr, sign_lr, surge_batch
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
from betaplane.theory.central_flow import flow_rate, resting_root_v, steps_to_edge, swing
from betaplane.theory.concentration import Concentration, concentration, second_moment_spread
from betaplane.theory.degenerate import degenerate_critical_beta2, degenerate_ratio
from betaplane.theory.epsilon import (
    damping,
    eps_after_correction,
    vanishing_eps,
    vanishing_gradient,
)
from betaplane.theory.equal_betas import variance_about_momentum
from betaplane.theory.guarantees import Constants, adagrad_bound, adam_bound
from betaplane.theory.horizon import (
    beta_from_half_life,
    beta_from_horizon,
    half_life,
    memory_horizon,
)
from betaplane.theory.memory import deepspeed_bytes, number_bytes, state_bytes, zero_bytes
from betaplane.theory.memory_relatives import lbfgs_bytes, lora_share
from betaplane.theory.published import (
    growth_constant,
    kingma_ba_condition,
    shi_threshold,
    zhang_threshold,
)
from betaplane.theory.rates import Local, local_rate
from betaplane.theory.reddi import failing_period, reddi_beta2, reddi_holds, reddi_period
from betaplane.theory.regret import amsgrad_regret
from betaplane.theory.resting_v import resting_root_v_of
from betaplane.theory.schedule_means import Means, cosine_means, linear_means, stable_means
from betaplane.theory.schedules import multipliers
from betaplane.theory.spectral import sign_update_norm, spectral_scale
from betaplane.theory.stability import (
    Curvature,
    preconditioned_curvature,
    rms_ratio,
    stability_threshold,
)
from betaplane.theory.transient import Peak, jump, jump_peak
from betaplane.theory.update_rms import batch_multiplier, snr_from_update_rms, update_rms
from betaplane.theory.warmup import (
    adamd_warmup,
    exponential_warmup,
    linear_warmup,
    linear_warmup_steps,
    radam_length,
    radam_start,
    radam_warmup,
)
from betaplane.theory.weight_decay import (
    corrected_decay,
    coupled_decay,
    decay_horizon,
    normalized_decay,
    steady_ratio,
)
from betaplane.theory.weight_rms import rotation, weight_rms, weight_rms_after, weight_rms_path
from betaplane.theory.width import Hidden, eps_for_width, mup_hidden, mup_output

__all__ = [
    "Concentration",
    "Constants",
    "Curvature",
    "Hidden",
    "Local",
    "Means",
    "Peak",
    "Scaled",
    "adafactor_beta2",
    "adagrad_bound",
    "adam_bound",
    "adam_lr",
    "adamax_bound",
    "adamd_warmup",
    "amsgrad_regret",
    "atan2_bound",
    "batch_multiplier",
    "beta_from_half_life",
    "beta_from_horizon",
    "beta_rules_gap",
    "blow_up_rate",
    "concentration",
    "corrected_decay",
    "correction",
    "cosine_means",
    "coupled_decay",
    "critical_beta2",
    "critical_first_order",
    "critical_with_replacement",
    "damping",
    "debiased_beta",
    "decay_horizon",
    "deepspeed_bytes",
    "degenerate_critical_beta2",
    "degenerate_ratio",
    "diverges",
    "drift",
    "eps_after_correction",
    "eps_for_width",
    "exponential_warmup",
    "extremal_gradients",
    "failing_period",
    "flow_rate",
    "growth_constant",
    "half_life",
    "influence",
    "jump",
    "jump_peak",
    "kingma_ba_claim",
    "kingma_ba_condition",
    "laprop_bound",
    "lbfgs_bytes",
    "linear_means",
    "linear_warmup",
    "linear_warmup_steps",
    "local_rate",
    "lora_share",
    "memory_horizon",
    "multipliers",
    "mup_hidden",
    "mup_output",
    "normalized_decay",
    "number_bytes",
    "preconditioned_curvature",
    "radam_length",
    "radam_start",
    "radam_warmup",
    "reddi_beta2",
    "reddi_holds",
    "reddi_period",
    "rest_shift",
    "resting_root_v",
    "resting_root_v_of",
    "rms_ratio",
    "rotation",
    "same_half_life",
    "second_moment_spread",
    "sgd_lr",
    "shi_threshold",
    "sign_lr",
    "sign_update_norm",
    "snr_from_update_rms",
    "spectral_scale",
    "square_root_scaling",
    "stability_threshold",
    "stable_means",
    "state_bytes",
    "steady_ratio",
    "steps_to_edge",
    "steps_until_corrected",
    "surge_batch",
    "swing",
    "two_cycle",
    "update_bound",
    "update_rms",
    "vanishing_eps",
    "vanishing_gradient",
    "variance_about_momentum",
    "weight_rms",
    "weight_rms_after",
    "weight_rms_path",
    "zero_bytes",
    "zhang_threshold",
]

explain_calls(__name__)
