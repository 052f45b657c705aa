"""A loaded state in the optimizer's own formats, whatever formats it was saved in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from betaplane.optim.sharding.local_shard import LocalShard, by_rows
from betaplane.optim.step.step_spec import StepSpec
from betaplane.optim.storage_formats import SCALE, Format
from betaplane.tensors.dtensor import is_dtensor


def opened(
    optimizer: Any, state_dict: Mapping[str, Any], words: Mapping[str, str]
) -> dict[Any, dict[str, Any]]:
    """The states of a state dict, decoded where the optimizer keeps them in another format.

    Args:
        optimizer: with `form_of(group)`.
        state_dict: in the optimizer's groups.
        words: torch's names for the fields of the rule's state, where they differ.
    """
    states = dict(state_dict["state"])
    for group, old in zip(optimizer.param_groups, state_dict["param_groups"], strict=True):
        theirs = StepSpec(optimizer.rule_of(group), storage=old.get("storage", "parameter"))
        other = theirs.storage != group.get("storage", "parameter")
        for p, i in zip(group["params"], old["params"], strict=True):
            if i in states and (other or (is_dtensor(p) and not by_rows(p))):
                states[i] = _decoded(theirs, p, states[i], words)
    return states


def _decoded(
    form: StepSpec, p: Tensor, held: Mapping[str, Any], words: Mapping[str, str]
) -> dict[str, Any]:
    names = {word: name for name, word in words.items()}
    found = {word: value for word, value in held.items() if not word.endswith(SCALE)}
    for word, value in found.items():
        scale = held.get(word + SCALE)
        if scale is not None:
            found[word] = _wide(p, value, scale, form.kept(p, names.get(word, word), value))
    return found


def _wide(p: Tensor, value: Tensor, scale: Tensor, kept: Format) -> Tensor:
    """A tensor decoded; on a mesh, each process its part."""
    if not is_dtensor(value):
        return kept.decode(value, scale)
    part = LocalShard(p)
    found = kept.decode(part.part(value), part.part(scale) if is_dtensor(scale) else scale)
    return part.whole(found)


@torch.no_grad()
def portable(
    optimizer: Any, state_dict: dict[str, Any], words: Mapping[str, str]
) -> dict[str, Any]:
    """A state dict that can be sharded anew: in float32 where the blocks of 8 bits are not those of
    whole rows.

    Args:
        optimizer: with `form_of(group)`.
        state_dict: what torch made of it.
        words: torch's names for the fields of the rule's state, where they differ.
    """
    states = dict(state_dict["state"])
    for group, told in zip(optimizer.param_groups, state_dict["param_groups"], strict=True):
        for p, i in zip(group["params"], told["params"], strict=True):
            if (
                is_dtensor(p)
                and any(word.endswith(SCALE) for word in states.get(i, {}))
                and not by_rows(p)
            ):
                states[i] = _decoded(optimizer.form_of(group), p, states[i], words)
    return {**state_dict, "state": states}


@torch.no_grad()
def closed(optimizer: Any, words: Mapping[str, str], saved: list[str]) -> None:
    """Bring the optimizer's states, just loaded, into its own formats.

    Args:
        optimizer: with `form_of(group)`.
        words: torch's names for the fields of the rule's state, where they differ.
        saved: the storage of each group in the state dict.
    """
    for group, theirs in zip(optimizer.param_groups, saved, strict=True):
        form = optimizer.form_of(group)
        for p in group["params"] if form.storage != "parameter" or theirs != form.storage else ():
            _encode(form, p, optimizer.state.get(p, {}), words)


def _encode(form: StepSpec, p: Tensor, held: dict[str, Any], words: Mapping[str, str]) -> None:
    like_p = [
        word
        for word, value in held.items()
        if isinstance(value, Tensor) and value.dim() and value.shape == p.shape
    ]
    names = {word: name for name, word in words.items()}
    for word in like_p:
        name, value = names.get(word, word), held[word]
        if name in form.extras(p) or word + SCALE in held:
            continue
        kept = form.kept(p, name, value)
        kept = Format(p.dtype) if kept == Format() else kept
        part = LocalShard(p) if is_dtensor(p) else None
        codes, scale = kept.encode(part.part(value) if part else value, 0, 0)
        held[word] = part.whole(codes) if part else codes
        if scale is not None:
            held[word + SCALE] = part.whole(scale) if part and part.by_rows else scale
