"""Bytes of weights, gradients and optimizer states, on one device or split by ZeRO."""

from __future__ import annotations

from betaplane.errors import BadInput, one_of
from betaplane.theory._validation import NOT_NEGATIVE, ArgumentRange, check_floats

BITS = {"float32": 32, "bfloat16": 16, "float16": 16, "8bit": 8, "4bit": 4}  # of one number
BLOCKS = {"8bit": 256, "4bit": 128}  # elements per float32 scale


def number_bytes(form: str, block: int | None = None) -> float:
    """Bytes per element of a large tensor.

    ```
    bits / 8 + 4 / block
    ```

    Args:
        form: float32, bfloat16, float16, 8bit or 4bit.
        block: elements per float32 scale, >= 1; by default 256 for 8bit and 128 for 4bit. The
            others have no scales.

    Returns:
        Bytes, > 0.

    Raises:
        BadInput: if the format is unknown or the block is not at least 1.

    Source: T. Dettmers, M. Lewis, S. Shleifer, L. Zettlemoyer, 2022, arXiv:2110.02861, section 2
        (they take blocks of 2048; bitsandbytes since 0.45 and torchao take 256). Both libraries
        leave tensors of fewer than 4,096 elements in float32.

    Example:
        >>> number_bytes("bfloat16"), number_bytes("8bit"), number_bytes("8bit", block=2048)
        (2.0, 1.015625, 1.001953125)
    """
    one_of(tuple(BITS), "number_bytes", form=form)
    (length,) = check_floats(
        "number_bytes",
        block=(BLOCKS.get(form, 1) if block is None else block, ArgumentRange("[1, inf)", 256)),
    )
    return BITS[form] / 8 + (4 / length if form in BLOCKS else 0.0)


def state_bytes(
    tensors: float, form: str = "float32", rest: float = 0.0, block: int | None = None
) -> float:
    """Bytes of optimizer state per parameter.

    ```
    tensors number_bytes(form, block) + 4 rest
    ```

    Args:
        tensors: state tensors of the parameter's shape, >= 0: 1 for Lion, 2 for Adam, 3 for
            AMSGrad.
        form: their format, see `number_bytes`.
        rest: further elements per parameter, >= 0: of rows, columns, blocks; always in float32.
        block: elements per scale, see `number_bytes`.

    Returns:
        Bytes per parameter, >= 0.

    Raises:
        BadInput: if an argument is out of its range.

    Source: definition.

    Example:
        >>> state_bytes(2), state_bytes(2, "bfloat16"), state_bytes(2, "8bit"), state_bytes(2, "4bit")
        (8.0, 4.0, 2.03125, 1.0625)
    """
    tensors, rest = check_floats(
        "state_bytes", tensors=(tensors, ArgumentRange("[0, inf)", 2)), rest=(rest, NOT_NEGATIVE)
    )
    return tensors * number_bytes(form, block) + 4 * rest


def zero_bytes(
    params: float,
    ranks: float,
    stage: int,
    states: float = 8.0,
    *,
    weights: float = 2.0,
    gradients: float = 2.0,
    copy: float = 4.0,
) -> float:
    """Bytes of weights, gradients and states per device, as counted in the ZeRO paper.

    ```
    K = copy + states

    stage 0    (weights + gradients + K) params                    nothing is split: data parallel
    stage 1    (weights + gradients) params + K params / ranks     the states, with the float32 copy of the weights
    stage 2    weights params + (gradients + K) params / ranks     the gradients too
    stage 3    (weights + gradients + K) params / ranks            the weights too
    ```

    Activations and buffers are not included. The defaults are mixed precision with Adam, the
    paper's K = 12. For training in float32 set weights=4, gradients=4, copy=0; for pure bfloat16
    states=4, copy=0.

    Args:
        params: parameters of the model, in [1, 1e18].
        ranks: devices the batch is split over, a whole number >= 1.
        stage: 0, 1, 2 or 3.
        states: bytes of optimizer state per parameter, >= 0; see `state_bytes`.
        weights: bytes of a weight as the forward pass reads it, >= 0.
        gradients: bytes of a gradient, >= 0.
        copy: bytes of the weight the optimizer updates, >= 0; 0 if that is the same weight.

    Returns:
        Bytes on each device.

    Raises:
        BadInput: if an argument is out of its range.

    Source: S. Rajbhandari, J. Rasley, O. Ruwase, Y. He, 2020, arXiv:1910.02054, section 5 and
        Figure 1.

    Example:
        The paper's figure: 7.5 billion parameters on 64 devices, in GB.

        >>> [round(zero_bytes(7.5e9, 64, stage) / 1e9, 1) for stage in (0, 1, 2, 3)]
        [120.0, 31.4, 16.6, 1.9]
    """
    _check(
        "zero_bytes", params, ranks, states=states, weights=weights, gradients=gradients, copy=copy
    )
    if stage not in (0, 1, 2, 3):
        raise BadInput(
            "There is no such stage",
            value=stage,
            allowed="0, 1, 2, 3",
            where="zero_bytes",
            instead="3",
        )
    # in the order in which the stages, from the last, split them
    parts = weights, gradients, copy + states
    whole, split = sum(parts[: 3 - int(stage)]), sum(parts[3 - int(stage) :])
    return params * (whole + split / ranks)


def deepspeed_bytes(
    params: float, ranks: float, stage: int, states: float = 8.0, largest: float = 0.0
) -> float:
    """Bytes per device as DeepSpeed's estimators count them, with a float32 copy of gradients.

    ```
    stage 2    2 params + (10 + states) params / ranks     split: gradients in 16 and in 32 bit, float32 weights, states
    stage 3    (10 + states) params / ranks + 4 largest    split: 16-bit weights, float32 gradients and weights, states
    ```

    On one device stage 2 comes to 20 bytes per parameter with Adam and stage 3 to 18, whereas the
    paper has 16: stage 3 counts the 16-bit gradients in the largest layer only. DeepSpeed estimates
    no other stage. (Its page on memory still has an earlier form of stage 2, 4 params + 16 params /
    ranks.)

    Args:
        params: parameters of the model, in [1, 1e18].
        ranks: devices, a whole number >= 1.
        stage: 2 or 3.
        states: bytes of optimizer state per parameter, >= 0; see `state_bytes`. DeepSpeed itself
            has 8.
        largest: parameters of the largest layer, >= 0, which stage 3 gathers on each device; not
            read in stage 2.

    Returns:
        Bytes on each device.

    Raises:
        BadInput: if an argument is out of its range.

    Source: DeepSpeed, `estimate_zero2_model_states_mem_needs` and
        `estimate_zero3_model_states_mem_needs`, nothing offloaded.

    Example:
        Of a model of 2,851 million parameters with 32 million in its largest layer, on 8 devices,
        their page gives 6.09 GB of 2^30 bytes.

        >>> round(deepspeed_bytes(2851e6, 8, stage=3, largest=32e6) / 2**30, 2)
        6.09
    """
    _check("deepspeed_bytes", params, ranks, states=states, largest=largest)
    if stage not in (2, 3):
        raise BadInput(
            "There is no such estimate",
            value=stage,
            allowed="2, 3",
            where="deepspeed_bytes",
            instead="3",
        )
    split = (10 + states) * params / ranks
    return 2 * params + split if stage == 2 else split + 4 * largest


def _check(where: str, params: float, ranks: float, **others: float) -> None:
    numbers = {
        "params": (params, ArgumentRange("[1, 1e18]", 7e10)),
        "ranks": (ranks, ArgumentRange("(-inf, inf)", 64)),
    }
    check_floats(
        where, **numbers, **{name: (value, NOT_NEGATIVE) for name, value in others.items()}
    )
    if ranks < 1 or ranks % 1:
        allowed = "a whole number in [1, inf)"
        raise BadInput(
            "ranks is out of range",
            value=float(ranks),
            allowed=allowed,
            where=where,
            instead="ranks=64",
        )
