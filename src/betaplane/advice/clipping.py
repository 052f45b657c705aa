"""Advice on clipping updates: by how far one update can exceed lr at these betas."""

from __future__ import annotations

from betaplane.advice.recommendation import PUBLISHED, THEOREM, Decision, Recommendation
from betaplane.advice.run_spec import RunSpec
from betaplane.theory import update_bound

BOUND = 2.0  # a single update of less, in units of lr, is left alone
FORMULA = "(1 - beta1) / sqrt((1 - beta2) (1 - beta1^2 / beta2))"


def clipping(case: RunSpec, beta1: float, beta2: float) -> Decision:
    """Clip the RMS of a tensor's update at 1 where one update can be more than BOUND times lr."""
    bound = float(update_bound(beta1, beta2))
    if bound < BOUND:
        reason = f"No gradient can make one update larger than {bound:.3g} lr at these betas."
        return Decision(
            Recommendation(
                "update clipping", "none", None, None, reason, FORMULA, ("betaplane",), THEOREM
            )
        )
    reason = f"A jump of the gradient can make one update {bound:.3g} lr large; clipping its RMS at 1 stops that."
    sources = "betaplane", "shazeer2018", "wortsman2023"
    return Decision(
        Recommendation("update clipping", 1.0, 1.0, bound, reason, FORMULA, sources, PUBLISHED)
    )
