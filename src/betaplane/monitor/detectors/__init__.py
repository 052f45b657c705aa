"""The detectors, in order of trust: where two fire at one step, the one above is the cause."""

from betaplane.monitor.detectors._detector import Detector, Finding
from betaplane.monitor.detectors.gradients import CHANGED, NON_FINITE
from betaplane.monitor.detectors.rate import EDGE, TOO_LARGE
from betaplane.monitor.detectors.rows import DEAD
from betaplane.monitor.detectors.second_moment import COUPLED, EPS, NOISY, STALE, UNDERFLOW
from betaplane.monitor.detectors.steps import MISCOUNTED, RUSHED

ALL = (
    MISCOUNTED,
    NON_FINITE,
    UNDERFLOW,
    EPS,
    COUPLED,
    CHANGED,
    DEAD,
    TOO_LARGE,
    EDGE,
    STALE,
    NOISY,
    RUSHED,
)

__all__ = ["ALL", "Detector", "Finding"]
