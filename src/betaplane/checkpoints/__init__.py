"""An optimizer's state on disk: read without running what is in the file, measured, judged."""

from betaplane.checkpoints.checkpoint import Checkpoint, read_checkpoint
from betaplane.checkpoints.inspect import Inspection, inspect
from betaplane.checkpoints.layer import GroupSettings, Layer

__all__ = ["Checkpoint", "GroupSettings", "Inspection", "Layer", "inspect", "read_checkpoint"]
