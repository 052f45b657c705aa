"""Split a large parameter into chunks, so that the temporaries of an eager step stay small."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from betaplane.optim.blocks import BLOCK, row_length
from betaplane.optim.step.dependence import dependence
from betaplane.optim.step.step_spec import StepSpec
from betaplane.optim.storage_formats import SCALE

# views of a parameter, its gradient and its state, and the index of the first element
Chunk = tuple[Tensor, Tensor, dict[str, Any], int]

CHUNK_ELEMENTS = 2**18  # elements that are stepped at once if the rule is elementwise


def can_chunk(spec: StepSpec, p: Tensor, g: Tensor, param_state: Mapping[str, Tensor]) -> bool:
    """Whether p can be stepped in chunks: the rule is elementwise, and all tensors are contiguous."""
    like_p = [value for value in param_state.values() if value.shape == p.shape]
    return (
        not p.is_complex()
        and dependence(spec.rule) == "elementwise"
        and all(x.is_contiguous() for x in (p, g, *like_p))
    )


def chunks(p: Tensor, g: Tensor, param_state: Mapping[str, Tensor]) -> Iterator[Chunk]:
    """The chunks of a parameter: whole rows, or whole blocks of one long row, of about
    CHUNK_ELEMENTS elements.

    The last chunk has the single numbers of the state, and the others have copies, so that a step of every chunk
    starts from the same numbers and changes them once.
    """
    length = row_length(p.shape)
    one_row = length == p.numel()
    dim = 1 if one_row else 0
    size = CHUNK_ELEMENTS // BLOCK * BLOCK if one_row else max(1, CHUNK_ELEMENTS // length)
    scale_size = size // BLOCK if one_row else size
    views = [x.view(-1, length) for x in (p.detach(), g)]
    state_views = {
        key: value.view(-1, length) if value.shape == p.shape else value
        for key, value in param_state.items()
    }
    last = (views[0].shape[dim] - 1) // size
    for i in range(last + 1):
        chunk_state = {
            key: _chunk(value, dim, i, scale_size if key.endswith(SCALE) else size)
            if value.dim()
            else (value if i == last else value.clone())
            for key, value in state_views.items()
        }
        x, chunk_g = (_chunk(view, dim, i, size) for view in views)
        x.whole_numel = p.numel()  # type: ignore[attr-defined]
        yield x, chunk_g, chunk_state, i * size * (1 if one_row else length)


def _chunk(value: Tensor, dim: int, i: int, size: int) -> Tensor:
    """Chunk i of a dimension."""
    return value.narrow(dim, i * size, min(size, value.shape[dim] - i * size))
