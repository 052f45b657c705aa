"""Convert loaded and saved states between storage formats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from betaplane.optim.sharding.local_shard import LocalShard, is_sharded_by_rows
from betaplane.optim.step.step_spec import StepSpec
from betaplane.optim.storage_formats import SCALE, Format
from betaplane.tensors.dtensor import is_dtensor


def decode_state_dict(
    optimizer: Any, state_dict: Mapping[str, Any], keys: Mapping[str, str]
) -> dict[Any, dict[str, Any]]:
    """The states of a state dict, decoded if the optimizer stores them in another format.

    Args:
        optimizer: one of this package's.
        state_dict: in the optimizer's groups.
        keys: torch's state keys for the fields of the rule's state, if they differ.
    """
    states = dict(state_dict["state"])
    for group, saved in zip(optimizer.param_groups, state_dict["param_groups"], strict=True):
        spec = StepSpec(optimizer.rule_of(group), storage=saved.get("storage", "parameter"))
        differs = spec.storage != group.get("storage", "parameter")
        for p, i in zip(group["params"], saved["params"], strict=True):
            if i in states and (differs or (is_dtensor(p) and not is_sharded_by_rows(p))):
                states[i] = _decode_state(spec, p, states[i], keys)
    return states


def _decode_state(
    spec: StepSpec, p: Tensor, param_state: Mapping[str, Any], keys: Mapping[str, str]
) -> dict[str, Any]:
    names = {key: name for name, key in keys.items()}
    decoded = {key: value for key, value in param_state.items() if not key.endswith(SCALE)}
    for key, value in decoded.items():
        scale = param_state.get(key + SCALE)
        if scale is not None:
            stored = spec.state_format(p, names.get(key, key), value)
            decoded[key] = _decode(p, value, scale, stored)
    return decoded


def _decode(p: Tensor, value: Tensor, scale: Tensor, stored: Format) -> Tensor:
    """Decode a tensor; of a DTensor, each rank its own shard."""
    if not is_dtensor(value):
        return stored.decode(value, scale)
    shard = LocalShard(p)
    local_scale = shard.local(scale) if is_dtensor(scale) else scale
    return shard.distributed(stored.decode(shard.local(value), local_scale))


@torch.no_grad()
def make_portable(
    optimizer: Any, state_dict: dict[str, Any], keys: Mapping[str, str]
) -> dict[str, Any]:
    """A state dict that can be resharded: decoded to float32 if 8-bit blocks are local to a rank.

    Args:
        optimizer: one of this package's.
        state_dict: the one that torch made of it.
        keys: torch's state keys for the fields of the rule's state, if they differ.
    """
    states = dict(state_dict["state"])
    for group, saved in zip(optimizer.param_groups, state_dict["param_groups"], strict=True):
        for p, i in zip(group["params"], saved["params"], strict=True):
            has_scales = any(key.endswith(SCALE) for key in states.get(i, {}))
            if has_scales and is_dtensor(p) and not is_sharded_by_rows(p):
                states[i] = _decode_state(optimizer.spec_of(group), p, states[i], keys)
    return {**state_dict, "state": states}


@torch.no_grad()
def encode_states(optimizer: Any, keys: Mapping[str, str], saved_storages: list[str]) -> None:
    """Convert the optimizer's states, just loaded, to its own storage formats.

    Args:
        optimizer: one of this package's.
        keys: torch's state keys for the fields of the rule's state, if they differ.
        saved_storages: the storage of each group in the state dict.
    """
    for group, saved_storage in zip(optimizer.param_groups, saved_storages, strict=True):
        spec = optimizer.spec_of(group)
        if spec.storage != "parameter" or saved_storage != spec.storage:
            for p in group["params"]:
                _encode_state(spec, p, optimizer.state.get(p, {}), keys)


@torch.no_grad()
def change_storage(optimizer: Any, group: Mapping[str, Any], old: StepSpec) -> None:
    """Convert the states of a group whose `storage` changed between steps.

    Args:
        optimizer: one of this package's.
        group: with the new option.
        old: what the last step did.
    """
    keys, spec = optimizer.state_keys, optimizer.spec_of(group)
    for p in group["params"]:
        if p in optimizer.state:
            optimizer.state[p] = _decode_state(old, p, optimizer.state[p], keys)
            _encode_state(spec, p, optimizer.state[p], keys)


def _encode_state(
    spec: StepSpec, p: Tensor, param_state: dict[str, Any], keys: Mapping[str, str]
) -> None:
    tensors = {key: value for key, value in param_state.items() if isinstance(value, Tensor)}
    like_p = [key for key, value in tensors.items() if value.dim() and value.shape == p.shape]
    names = {key: name for name, key in keys.items()}
    for key in like_p:
        name, value = names.get(key, key), param_state[key]
        if name in spec.extra_fields(p) or key + SCALE in param_state:
            continue
        stored = spec.state_format(p, name, value)
        if stored == Format():
            stored = Format(p.dtype)
        shard = LocalShard(p) if is_dtensor(p) else None
        codes, scale = stored.encode(shard.local(value) if shard else value, 0, 0)
        param_state[key] = shard.distributed(codes) if shard else codes
        if scale is not None:
            by_rows = shard is not None and shard.by_rows
            param_state[key + SCALE] = shard.distributed(scale) if by_rows else scale  # type: ignore[union-attr]
