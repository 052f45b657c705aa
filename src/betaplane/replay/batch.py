"""Other batch sizes from the same recording: larger ones exactly, smaller ones as an extrapolation."""

from __future__ import annotations

from numbers import Integral

from betaplane.errors import BadInput
from betaplane.replay.gradients import Gradients

FEWEST = 16  # rows: of fewer, no moment has a steady state worth the name


def with_batch_size(stream: Gradients, batch_size: int) -> Gradients:
    r"""The stream as it would be with another batch size.

    ```
    k = batch_size / B > 1:   the mean of k rows at a time    exact at frozen weights
    k < 1:                    g + (g_t - g) / sqrt(k)          right mean and variance, not the shape of the noise
    ```

    Smaller batches have heavier tails than larger ones stretched, so that their prediction errs on the bright side;
    `changed` says "extrapolated", and maps say it too. In a live stream the weights have moved between averaged rows.

    Args:
        stream: the recorded gradients, at batch size B.
        batch_size: wanted; a multiple of B that leaves at least 16 rows, or anything below B.

    Returns:
        A stream with T / k rows, or with T.

    Raises:
        BadInput: B is not known, the wanted size is no whole number, or too few rows would be left.

    Source: the mean of means over equal parts; the variance of a minibatch's gradient falls as 1 /
        B.

    Example:
        >>> import torch
        >>> from betaplane.replay.gradients import Layer
        >>> rows = torch.arange(64.0).reshape(-1, 1)
        >>> stream = Gradients(rows, (Layer("x", (1,), 1),), batch_size=8)
        >>> with_batch_size(stream, 32).values[:3, 0].tolist()
        [1.5, 5.5, 9.5]
        >>> smaller = with_batch_size(stream, 2)
        >>> smaller.values[:2, 0].tolist(), smaller.changed
        ([-31.5, -29.5], 'extrapolated')
    """
    if batch_size == stream.batch_size:
        return stream
    known, batch_size = _known(stream, batch_size), int(batch_size)
    if batch_size < known:
        mean = stream.values.mean(dim=0)
        values = mean + (stream.values - mean) * (known / batch_size) ** 0.5
        return stream.with_(values=values, batch_size=batch_size, changed="extrapolated")
    k = batch_size // known
    whole = stream.steps // k * k
    values = stream.values[:whole].reshape(-1, k, stream.coordinates).mean(dim=1)
    return stream.with_(values=values, batch_size=batch_size, changed="averaged")


def _known(stream: Gradients, batch_size: int) -> int:
    """The batch size it was recorded with, if the wanted one can be had from it."""
    if stream.batch_size is None:
        raise BadInput(
            "The recording does not say its batch size",
            where="batch_size",
            instead="record_gradients(model, batch_size=32)",
        )
    whole, most = (
        isinstance(batch_size, Integral),
        max(stream.steps // FEWEST, 1) * stream.batch_size,
    )
    if (
        not whole
        or not 1 <= batch_size <= most
        or (batch_size > stream.batch_size and batch_size % stream.batch_size)
    ):
        b = stream.batch_size
        raise BadInput(
            "This batch size cannot be had from the recording",
            value=batch_size,
            allowed=f"1 to {b}, and multiples of {b} up to {most}, which leave {FEWEST} rows",
            where="batch_size",
            instead=f"batch_size={min(4 * b, most)}",
        )
    return stream.batch_size
