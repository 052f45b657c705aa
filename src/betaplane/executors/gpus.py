"""Which GPU the runs of a slot see."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from betaplane.errors import BadInput

VISIBLE = "CUDA_VISIBLE_DEVICES"
MAX_PER_GPU = 64


def gpu_environments(
    gpus: Sequence[str], per_gpu: int, environment: Mapping[str, str] = os.environ
) -> list[dict[str, str]]:
    """The environment variables of each slot: slots of one GPU are `len(gpus)` apart, so that a few
    runs are spread over all GPUs.

    Args:
        gpus: numbers as nvidia-smi prints them, or names ("GPU-5f3a..."). If this process itself
            sees only some GPUs, numbers count those, from 0.
        per_gpu: runs at once on each GPU.
        environment: the variables of this process.

    Raises:
        BadInput: a GPU is named twice or not visible here, or `per_gpu` is out of range.

    Example:
        >>> [slot["CUDA_VISIBLE_DEVICES"] for slot in gpu_environments(["0", "1"], 2, {})]
        ['0', '1', '0', '1']
        >>> gpu_environments(["1"], 1, {"CUDA_VISIBLE_DEVICES": "4,7"})
        [{'CUDA_VISIBLE_DEVICES': '7'}]
    """
    if not gpus or "" in gpus or len(set(gpus)) < len(gpus):
        raise BadInput(
            "Invalid list of GPUs",
            value=",".join(gpus),
            allowed="numbers or names of GPUs, each once",
            where="gpus",
            instead='gpus="0,1"',
        )
    if not 1 <= per_gpu <= MAX_PER_GPU:
        raise BadInput(
            "per_gpu is out of range",
            value=per_gpu,
            allowed=f"[1, {MAX_PER_GPU}]",
            where="per_gpu",
            instead="per_gpu=1",
        )
    visible = environment.get(VISIBLE)
    named = gpus if visible is None else [_visible(gpu, visible) for gpu in gpus]
    # by default CUDA numbers the fastest GPU first; nvidia-smi numbers them by their bus
    order = {} if visible is not None else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    order = {name: environment.get(name, value) for name, value in order.items()}
    return [{**order, VISIBLE: name} for _ in range(per_gpu) for name in named]


def _visible(gpu: str, visible: str) -> str:
    """The name of one of the visible GPUs; a number counts them."""
    names = [name.strip() for name in visible.split(",") if name.strip()]
    if gpu.isdecimal() and int(gpu) < len(names):
        return names[int(gpu)]
    if gpu in names:
        return gpu
    raise BadInput(
        "The GPU is not visible to this process",
        value=gpu,
        allowed=f"fewer than {len(names)}, since {VISIBLE}={visible}",
        where="gpus",
    )
