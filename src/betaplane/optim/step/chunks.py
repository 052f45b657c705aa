"""Split a large parameter into chunks, so that the temporaries of an eager step stay small."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from betaplane.optim.blocks import BLOCK, row_length
from betaplane.optim.step.dependence import dependence
from betaplane.optim.step.step_spec import StepSpec
from betaplane.optim.storage_formats import SCALE

CHUNK_ELEMENTS = 2**18  # elements that are stepped at once if the rule is elementwise


def can_chunk(spec: StepSpec, p: Tensor, g: Tensor, param_state: Mapping[str, Tensor]) -> bool:
    """Whether p can be stepped in chunks: the rule is elementwise, and all tensors are contiguous."""
    like_p = [value for value in param_state.values() if value.shape == p.shape]
    return (
        not p.is_complex()
        and dependence(spec.rule) == "elementwise"
        and all(x.is_contiguous() for x in (p, g, *like_p))
    )


def chunks(
    p: Tensor, g: Tensor, param_state: Mapping[str, Tensor]
) -> Iterator[tuple[Tensor, Tensor, dict[str, Tensor], int]]:
    """Views of a parameter, its gradient and its state, and the index of each chunk's first
    element.

    Chunks are whole rows, or whole blocks of one long row, and have about CHUNK_ELEMENTS elements. Single numbers of
    the state are copied.
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
    for i in range(-(-views[0].shape[dim] // size)):
        chunk_state = {
            key: _chunk(value, dim, i, scale_size if key.endswith(SCALE) else size)
            for key, value in state_views.items()
        }
        x, chunk_g = (_chunk(view, dim, i, size) for view in views)
        x.whole_numel = p.numel()  # type: ignore[attr-defined]
        yield x, chunk_g, chunk_state, i * size * (1 if one_row else length)


def _chunk(value: Tensor, dim: int, i: int, size: int) -> Tensor:
    """Chunk i of a dimension; a copy of a single number."""
    if value.dim() == 0:
        return value.clone()
    return value.narrow(dim, i * size, min(size, value.shape[dim] - i * size))
