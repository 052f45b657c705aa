"""The detectors, in order of trust: where two fire at one step, the one above is the cause.

Their false alarms on runs that no threshold was chosen on: none in 65 healthy ones of 12 kinds, so
below 4.6 % of runs each and together at 95 % confidence; of 65 failing ones 63 are named first
(`python -m benchmarks.detection random`).
"""

from betaplane.monitor.detectors._detector import Detector, Finding
from betaplane.monitor.detectors.decay import DRIFTING
from betaplane.monitor.detectors.gradients import CHANGED, NON_FINITE
from betaplane.monitor.detectors.rate import EDGE, TOO_LARGE
from betaplane.monitor.detectors.rows import DEAD
from betaplane.monitor.detectors.second_moment import COUPLED, EPS, NOISY, STALE, UNDERFLOW
from betaplane.monitor.detectors.state import CHANGED_STATE
from betaplane.monitor.detectors.steps import MISCOUNTED, RUSHED

ALL = (
    MISCOUNTED,
    CHANGED_STATE,
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
    DRIFTING,
)

__all__ = ["ALL", "Detector", "Finding"]
