"""Files of a checkpoint folder of Hugging Face or Accelerate: optimizers and the models beside."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

OPTIMIZER = re.compile(r"optimizer(_\d+)?\.(pt|bin|safetensors)")
MODEL = re.compile(r"((?:pytorch_|adapter_)?model(?:_\d+)?)(-\d+-of-\d+)?\.(safetensors|bin)")
TRAINER_STATE = "trainer_state.json"  # of Hugging Face's Trainer


def read_files(folder: Path, read: Callable[[Path], Any]) -> dict[str, Any]:
    """The optimizers and models in a folder by their files' names without suffix.

    Args:
        folder: a folder.
        read: reads one file.

    Returns:
        An empty dict if there is no optimizer.
    """
    names = sorted(file.name for file in folder.iterdir() if file.is_file())
    optimizers = {Path(name).stem: folder / name for name in names if OPTIMIZER.fullmatch(name)}
    if not optimizers:
        return {}
    contents = {stem: read(path) for stem, path in optimizers.items()}
    for name in names:
        if match := MODEL.fullmatch(name):
            contents.setdefault(match[1], {}).update(_tensors(read(folder / name)))
    return contents


def _tensors(loaded: Any) -> dict[str, Tensor]:
    """The tensors by name of a file of weights."""
    tensors = loaded.get("flat", loaded) if isinstance(loaded, dict) else {}
    return {str(name): x for name, x in tensors.items() if isinstance(x, Tensor)}
