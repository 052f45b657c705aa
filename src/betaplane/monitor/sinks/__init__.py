"""Sinks of alerts and readings: the console, a file that survives a kill, experiment trackers."""

from betaplane.monitor.sinks.console import Console
from betaplane.monitor.sinks.json_lines import JsonLines
from betaplane.monitor.sinks.mlflow import MLflow
from betaplane.monitor.sinks.resolve import TRACKERS, resolve_sinks
from betaplane.monitor.sinks.rotation import read_lines
from betaplane.monitor.sinks.run_metadata import describe_run
from betaplane.monitor.sinks.sink import Sink, Sinks
from betaplane.monitor.sinks.tensorboard import TensorBoard
from betaplane.monitor.sinks.trackio import Trackio
from betaplane.monitor.sinks.wandb import Wandb

__all__ = [
    "TRACKERS", "Console", "JsonLines", "MLflow", "Sink", "Sinks", "TensorBoard", "Trackio", "Wandb", "describe_run",
    "read_lines", "resolve_sinks",
]  # fmt: skip
