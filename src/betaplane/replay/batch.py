"""Convert a recording to another batch size: larger ones exactly, smaller ones by extrapolation."""

from __future__ import annotations

from numbers import Integral

from betaplane.errors import BadInput
from betaplane.replay.gradients import Gradients

MIN_ROWS = 16  # with fewer rows, no moment reaches a meaningful steady state


def with_batch_size(stream: Gradients, batch_size: int) -> Gradients:
    r"""The stream as it would be with another batch size.

    ```
    k = batch_size / B > 1:   the mean of k rows at a time    exact at frozen weights
    k < 1:                    g + (g_t - g) / sqrt(k)          right mean and variance, not the shape of the noise
    ```

    Smaller batches have heavier tails than rescaled larger ones, so their prediction is optimistic.
    `changed` is then "extrapolated", and maps show it. In a live stream the weights have moved
    between averaged rows.

    Args:
        stream: the recorded gradients, at batch size B.
        batch_size: a multiple of B that leaves at least 16 rows, or any size below B.

    Returns:
        A stream with T / k rows if k > 1, otherwise with T.

    Raises:
        BadInput: B is unknown, the batch size is not a whole number, or too few rows would be left.

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
    recorded, batch_size = _recorded_size(stream, batch_size), int(batch_size)
    if batch_size < recorded:
        mean = stream.values.mean(dim=0)
        values = mean + (stream.values - mean) * (recorded / batch_size) ** 0.5
        return stream.with_(values=values, batch_size=batch_size, changed="extrapolated")
    k = batch_size // recorded
    rows = stream.steps // k * k
    values = stream.values[:rows].reshape(-1, k, stream.coordinates).mean(dim=1)
    return stream.with_(values=values, batch_size=batch_size, changed="averaged")


def _recorded_size(stream: Gradients, batch_size: int) -> int:
    """The batch size of the recording, if the requested one can be made from it."""
    recorded = stream.batch_size
    if recorded is None:
        raise BadInput(
            "The batch size of the recording is unknown",
            where="batch_size",
            instead="record_gradients(model, batch_size=32)",
        )
    largest = max(stream.steps // MIN_ROWS, 1) * recorded
    if not _is_available(batch_size, recorded, largest):
        raise BadInput(
            "This batch size cannot be made from the recording",
            value=batch_size,
            allowed=f"1 to {recorded}, and multiples of {recorded} up to {largest}, "
            f"which leave {MIN_ROWS} rows",
            where="batch_size",
            instead=f"batch_size={min(4 * recorded, largest)}",
        )
    return recorded


def _is_available(batch_size: object, recorded: int, largest: int) -> bool:
    """Whether a batch size is whole, in range, and a multiple of the recorded one or below it."""
    if not isinstance(batch_size, Integral) or not 1 <= int(batch_size) <= largest:
        return False
    return int(batch_size) <= recorded or int(batch_size) % recorded == 0
