"""Optimizer state of L-BFGS, and of the adapters of LoRA."""

from __future__ import annotations

from betaplane.theory._validation import (
    ArgumentRange,
    ArrayLike,
    FloatOrArray,
    check_arrays,
    unwrap,
)

HISTORY = ArgumentRange("[1, inf)", 100)
SIDE = ArgumentRange("[1, inf)", 4096)
RANK = ArgumentRange("[1, inf)", 16)


def lbfgs_bytes(history: ArrayLike = 100, element: ArrayLike = 4.0) -> FloatOrArray:
    r"""Bytes per parameter of the history of L-BFGS.

    ```
    2 history element
    ```

    L-BFGS keeps `history` pairs (change of the weights, change of the gradient), each of the size
    of the weights. torch.optim.LBFGS keeps a direction and a gradient as well.

    Args:
        history: number of pairs, >= 1; torch's default is 100.
        element: bytes of an element, >= 1.

    Returns:
        Bytes per parameter.

    Raises:
        BadInput: if an argument is out of its range.

    Source: D. Liu, J. Nocedal, 1989, Mathematical Programming 45, section 3.

    Example:
        70 billion parameters at a history of 10 need 5,600 GB, ten times the state of Adam.

        >>> lbfgs_bytes(10) * 70e9 / 1e9
        5600.0
    """
    history, element = check_arrays(
        "lbfgs_bytes", history=(history, HISTORY), element=(element, ArgumentRange("[1, inf)", 4))
    )
    return unwrap(2 * history * element)


def lora_share(rows: ArrayLike, columns: ArrayLike, rank: ArrayLike) -> FloatOrArray:
    r"""Parameters of LoRA's two factors, as a share of the matrix that they adapt.

    ```
    rank (rows + columns) / (rows columns)
    ```

    The matrix itself is frozen and has neither a gradient nor a state, so this is also the share of
    the optimizer's state.

    Args:
        rows: rows of the matrix, >= 1.
        columns: columns of the matrix, >= 1.
        rank: rank of the factors, >= 1.

    Returns:
        The share, > 0; above 1 if the rank is so large that the factors exceed the matrix.

    Raises:
        BadInput: if an argument is out of its range.

    Source: E. Hu and others, 2021, arXiv:2106.09685, section 4.

    Example:
        Adam's 560 GB of state for 70 billion parameters shrink to 2.2 GB at rank 16.

        >>> share = lora_share(8192, 8192, rank=16)
        >>> share, round(share * 70e9 * 8 / 1e9, 1)
        (0.00390625, 2.2)
    """
    rows, columns, rank = check_arrays(
        "lora_share", rows=(rows, SIDE), columns=(columns, SIDE), rank=(rank, RANK)
    )
    return unwrap(rank * (rows + columns) / (rows * columns))
