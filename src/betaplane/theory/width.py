"""Settings at another width: lr, weight decay, eps and initialization by muP for Adam."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from betaplane.theory._validation import (
    NOT_NEGATIVE,
    POSITIVE,
    ArgumentRange,
    FloatOrArray,
    check_arrays,
    unwrap,
)


class Hidden(NamedTuple):
    """The settings of a weight matrix both of whose sides grow with the width."""

    lr: FloatOrArray
    weight_decay: FloatOrArray  # as in torch's AdamW, so that lr weight_decay stays
    eps: FloatOrArray
    init_std: FloatOrArray  # over the one at the base width


def mup_hidden(
    width: ArrayLike,
    base_width: ArrayLike,
    lr: ArrayLike,
    weight_decay: ArrayLike = 0.0,
    eps: ArrayLike = 1e-8,
) -> Hidden:
    r"""The settings of a hidden matrix that grows from base_width to width, under muP.

    With w = width / base_width:

    ```
    lr -> lr / w     weight_decay -> weight_decay w     eps -> eps / w     initial std -> std / sqrt(w)
    ```

    A sign-like update of every entry by lr moves the output of a matrix by lr times its fan-in:
    hence lr / w, so that features move as much at every width. Gradients of single entries shrink
    as 1 / w: hence eps, which the authors' own library leaves alone. Vector-like parameters
    (embeddings, biases, gains) keep their lr; the output is multiplied by 1 / w (`mup_output`),
    attention logits by 1 / head size instead of its root.

    Args:
        width: width of the new model, > 0; any shape.
        base_width: width of the tuned model, > 0; any shape that broadcasts.
        lr: its learning rate, > 0; any shape that broadcasts.
        weight_decay: its weight decay, as in torch's AdamW, >= 0; any shape that broadcasts.
        eps: its eps, >= 0, gradient units; any shape that broadcasts.

    Returns:
        The settings at the new width.

    Raises:
        BadInput: if an argument is out of its range.

    Source: G. Yang et al., 2022, arXiv:2203.03466, Table 8, and the mup package (lr, weight decay);
        K. Everett et al., 2024, arXiv:2407.05872 (eps).

    Example:
        >>> mup_hidden(1024, 256, lr=1e-3, weight_decay=0.1)
        Hidden(lr=0.00025, weight_decay=0.4, eps=2.5e-09, init_std=0.5)
    """
    width, base_width, lr, weight_decay, eps = check_arrays(
        "mup_hidden",
        width=(width, POSITIVE),
        base_width=(base_width, POSITIVE),
        lr=(lr, POSITIVE),
        weight_decay=(weight_decay, NOT_NEGATIVE),
        eps=(eps, NOT_NEGATIVE),
    )
    w = width / base_width
    return Hidden(
        unwrap(lr / w),
        unwrap(weight_decay * w),
        unwrap(eps / w),
        unwrap(1 / np.sqrt(w)),
    )


def mup_output(width: ArrayLike, base_width: ArrayLike) -> FloatOrArray:
    r"""The multiplier of the output layer's result under muP: base_width / width.

    Args:
        width: width of the new model, > 0; any shape.
        base_width: width of the tuned model, > 0; any shape that broadcasts.

    Returns:
        The multiplier, > 0.

    Raises:
        BadInput: if an argument is out of its range.

    Source: G. Yang et al., 2022, arXiv:2203.03466, and the mup package (MuReadout).

    Example:
        >>> mup_output(1024, 256)
        0.25
    """
    width, base_width = check_arrays(
        "mup_output", width=(width, POSITIVE), base_width=(base_width, POSITIVE)
    )
    return unwrap(base_width / width)


def eps_for_width(
    eps: ArrayLike, width: ArrayLike, base_width: ArrayLike, exponent: ArrayLike = 1.0
) -> FloatOrArray:
    r"""The eps that keeps its ratio to gradients at another width.

    ```
    eps (width / base_width)^(-exponent)
    ```

    Args:
        eps: eps at the base width, >= 0, gradient units; any shape.
        width: width of the new model, > 0; any shape that broadcasts.
        base_width: width of the tuned model, > 0; any shape that broadcasts.
        exponent: gradients of this tensor's entries go as width^(-exponent), >= 0; 1 for hidden
            matrices under muP. Any shape that broadcasts.

    Returns:
        eps at the new width, gradient units.

    Raises:
        BadInput: if an argument is out of its range.

    Source: K. Everett et al., 2024, arXiv:2407.05872 (per-layer eps).

    Example:
        >>> eps_for_width(1e-8, 4096, 1024)
        2.5e-09
    """
    eps, width, base_width, exponent = check_arrays(
        "eps_for_width",
        eps=(eps, NOT_NEGATIVE),
        width=(width, POSITIVE),
        base_width=(base_width, POSITIVE),
        exponent=(exponent, ArgumentRange("[0, inf)", 1.0)),
    )
    return unwrap(eps * (width / base_width) ** -exponent)
