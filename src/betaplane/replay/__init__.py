"""Record gradient streams, store them, and replay them through Adam's moments over the (beta1,
beta2) plane.
"""

from betaplane.call_errors import explain_calls
from betaplane.replay.batch import with_batch_size
from betaplane.replay.gradients import Gradients, Layer
from betaplane.replay.predict import predicted, thresholds, turning_point
from betaplane.replay.quantities import Quantities, Replay
from betaplane.replay.record_pass import record_pass
from betaplane.replay.record_problem import record_problem
from betaplane.replay.recorder import Recorder, record_gradients
from betaplane.replay.replay import horizons, replay_gradients
from betaplane.replay.store import load, save

__all__ = [
    "Gradients",
    "Layer",
    "Quantities",
    "Recorder",
    "Replay",
    "horizons",
    "load",
    "predicted",
    "record_gradients",
    "record_pass",
    "record_problem",
    "replay_gradients",
    "save",
    "thresholds",
    "turning_point",
    "with_batch_size",
]

explain_calls(__name__)
