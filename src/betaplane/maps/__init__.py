"""Maps of where training converges: choice of cells, verdicts, store of runs, recommendation."""

from betaplane.call_errors import explain_calls
from betaplane.maps.confirmation import Confirmation, confirm
from betaplane.maps.cost import MapCost, map_cost
from betaplane.maps.estimate import Estimate
from betaplane.maps.export import rows, to_csv, to_frame, to_json, to_parquet
from betaplane.maps.grid import Axis, axis, explicit, position
from betaplane.maps.mapper import map_phases, run_plan
from betaplane.maps.optuna_sampler import OptunaBoundarySampler
from betaplane.maps.phase_map import (
    DEGRADED,
    FAILING,
    GOOD,
    VERDICTS,
    Cell,
    Curve,
    Mark,
    PhaseMap,
    Prediction,
    Recommendation,
    Thresholds,
)
from betaplane.maps.plan import Plan, plan_for
from betaplane.maps.predicted_map import predict_map
from betaplane.maps.scheduler import Progress
from betaplane.maps.store.store import Store
from betaplane.maps.sweep import Sweep, import_sweep
from betaplane.maps.tune import tune
from betaplane.maps.tuned import Trial, Tuned

__all__ = [
    "DEGRADED",
    "FAILING",
    "GOOD",
    "VERDICTS",
    "Axis",
    "Cell",
    "Confirmation",
    "Curve",
    "Estimate",
    "MapCost",
    "Mark",
    "OptunaBoundarySampler",
    "PhaseMap",
    "Plan",
    "Prediction",
    "Progress",
    "Recommendation",
    "Store",
    "Sweep",
    "Thresholds",
    "Trial",
    "Tuned",
    "axis",
    "confirm",
    "explicit",
    "import_sweep",
    "map_cost",
    "map_phases",
    "plan_for",
    "position",
    "predict_map",
    "rows",
    "run_plan",
    "to_csv",
    "to_frame",
    "to_json",
    "to_parquet",
    "tune",
]

explain_calls(__name__)
