"""Train many runs of one problem side by side."""

from betaplane.call_errors import explain_calls
from betaplane.replicas.judge import JUDGES, Judge, final_value
from betaplane.replicas.plain import train_plain
from betaplane.replicas.run import Options, Outcome, Run
from betaplane.replicas.worker import ENGINES, Speeds, chunk_size, probe, train_stacked

__all__ = [
    "ENGINES",
    "JUDGES",
    "Judge",
    "Options",
    "Outcome",
    "Run",
    "Speeds",
    "chunk_size",
    "final_value",
    "probe",
    "train_plain",
    "train_stacked",
]

explain_calls(__name__)
