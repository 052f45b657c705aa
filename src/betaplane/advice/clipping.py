"""Recommend update clipping, from the largest update that is possible at these betas."""

from __future__ import annotations

from betaplane.advice.recommendation import PUBLISHED, THEOREM, Decision, Recommendation
from betaplane.advice.run_spec import RunSpec
from betaplane.theory import update_bound

MAX_UNCLIPPED_UPDATE = 2.0  # in units of lr: no clipping if updates cannot exceed it
FORMULA = "(1 - beta1) / sqrt((1 - beta2) (1 - beta1^2 / beta2))"


def clipping(run: RunSpec, beta1: float, beta2: float) -> Decision:
    """Clip the RMS of a tensor's update at 1 where one update can exceed MAX_UNCLIPPED_UPDATE times lr."""
    bound = float(update_bound(beta1, beta2))
    if bound < MAX_UNCLIPPED_UPDATE:
        reason = f"No gradient can make one update larger than {bound:.3g} lr at these betas."
        return Decision(
            Recommendation(
                "update clipping", "none", None, None, reason, FORMULA, ("betaplane",), THEOREM
            )
        )
    reason = f"A jump of the gradient can make one update {bound:.3g} lr large; clipping its RMS at 1 prevents that."
    sources = "betaplane", "shazeer2018", "wortsman2023"
    return Decision(
        Recommendation("update clipping", 1.0, 1.0, bound, reason, FORMULA, sources, PUBLISHED)
    )
