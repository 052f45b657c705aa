"""Where alarms and readings go: the console, a file that survives a kill, and trackers of
experiments.
"""

from betaplane.monitor.sinks.console import Console
from betaplane.monitor.sinks.json_lines import JsonLines
from betaplane.monitor.sinks.mlflow import MLflow
from betaplane.monitor.sinks.resolve import KNOWN, chosen
from betaplane.monitor.sinks.rotation import read_lines
from betaplane.monitor.sinks.run_metadata import start_facts
from betaplane.monitor.sinks.sink import Sink, Sinks
from betaplane.monitor.sinks.tensorboard import TensorBoard
from betaplane.monitor.sinks.trackio import Trackio
from betaplane.monitor.sinks.wandb import Wandb

__all__ = [
    "KNOWN", "Console", "JsonLines", "MLflow", "Sink", "Sinks", "TensorBoard", "Trackio", "Wandb", "chosen",
    "read_lines", "start_facts",
]  # fmt: skip
