"""Where runs execute: this process, worker processes, GPUs, a Ray or Dask cluster, Slurm."""

from betaplane.call_errors import explain_calls
from betaplane.executors.backend import Backend, Gpus, backend_of
from betaplane.executors.dask_cluster import Dask
from betaplane.executors.executor import Executor, WorkerLost, check_losses
from betaplane.executors.local import Local, cores
from betaplane.executors.ray_cluster import Ray
from betaplane.executors.slurm_jobs import Slurm

__all__ = [
    "Backend",
    "Dask",
    "Executor",
    "Gpus",
    "Local",
    "Ray",
    "Slurm",
    "WorkerLost",
    "backend_of",
    "check_losses",
    "cores",
]

explain_calls(__name__)
