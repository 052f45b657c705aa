"""An optimizer's state on disk: read without running what is in the file, measured, judged."""

from betaplane.checkpoints.checkpoint import Checkpoint, Layer, Settings, read_checkpoint
from betaplane.checkpoints.inspect import Inspection, inspect

__all__ = ["Checkpoint", "Inspection", "Layer", "Settings", "inspect", "read_checkpoint"]
