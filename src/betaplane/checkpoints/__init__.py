"""Read an optimizer's state from disk without running code in the file, measure it, judge it."""

from betaplane.call_errors import explain_calls
from betaplane.checkpoints.checkpoint import Checkpoint, read_checkpoint
from betaplane.checkpoints.inspect import Inspection, inspect
from betaplane.checkpoints.layer import GroupSettings, Layer

__all__ = ["Checkpoint", "GroupSettings", "Inspection", "Layer", "inspect", "read_checkpoint"]

explain_calls(__name__)
