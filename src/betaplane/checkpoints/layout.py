"""Find optimizer states in the content of a file, by their layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from torch import Tensor

from betaplane.checkpoints.layer import ADAM, FIRST, SECOND, GroupSettings, Layer, settings, short
from betaplane.optim.storage_formats import SCALE

MAX_DEPTH = 6  # levels of containers that are searched
MAX_CONTAINERS = 200_000  # that are searched
MAX_NAME_LENGTH = 1000
STATE_KEYS = {*ADAM, *FIRST, *SECOND}
BNB_STATE_KEY = "__bnb_optimizer_quant_state__"  # of the moments of bitsandbytes


@dataclass
class Contents:
    """The optimizers and models in a file.

    An optimizer is its place in the file (nested keys) and its layers; a model is a dict of names
    and tensors.
    """

    optimizers: list[tuple[str, list[Layer]]] = field(default_factory=list)
    models: list[Mapping[str, Tensor]] = field(default_factory=list)


def find_contents(loaded: Any) -> Contents:
    """The optimizers and models in nested dicts and lists; each container is searched once."""
    contents, waiting, seen = Contents(), [((), loaded)], set[int]()
    while waiting:
        place, container = waiting.pop()
        if id(container) in seen or not isinstance(container, Mapping | list | tuple):
            continue
        seen.add(id(container))
        states = _states(container) if isinstance(container, Mapping) else []
        contents.optimizers += [(".".join(place), list(layers)) for layers in states]
        if isinstance(container, Mapping) and _is_model(container):
            contents.models.append(container)
        elif not states and len(place) <= MAX_DEPTH:
            waiting += [*_children(container, place)][::-1]
            if len(waiting) + len(seen) > MAX_CONTAINERS:
                raise ValueError(f"it has more than {MAX_CONTAINERS:,} dicts and lists")
    return contents


def _children(container: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The containers in a container with their places, at most as many as are searched."""
    pairs = container.items() if isinstance(container, Mapping) else enumerate(container)
    nested = ((key, child) for key, child in pairs if isinstance(child, Mapping | list | tuple))
    for key, child in islice(nested, MAX_CONTAINERS):
        yield (*place, str(key) if isinstance(key, str | int) else "?"), child


def _is_model(container: Mapping[Any, Any]) -> bool:
    return bool(container) and all(
        isinstance(x, Tensor) and isinstance(name, str) for name, x in container.items()
    )


def _name(key: Any) -> str:
    """The name or number of a parameter as text.

    Raises:
        ValueError: it is anything else, or too long.
    """
    if not isinstance(key, str | int) or len(str(key)) > MAX_NAME_LENGTH:
        raise ValueError(f"{short(key)} is not the name of a parameter")
    return str(key)


def _states(mapping: Mapping[Any, Any]) -> list[Iterator[Layer]]:
    """The optimizers whose state is in a dict, usually one or none."""
    if "state" in mapping and "param_groups" in mapping and isinstance(mapping["state"], Mapping):
        return [_of_state_dict(mapping)]
    if "base_optimizer_state" in mapping:
        return [_of_zero(mapping)]
    if "flat" in mapping and "group" in mapping:
        return [_of_flat(mapping["flat"], mapping["group"])]
    nested = _nested(mapping)
    return [_of_state_dict(nested)] if nested["param_groups"] else []


def _of_state_dict(state_dict: Mapping[str, Any]) -> Iterator[Layer]:
    """The layers of torch's state dict; parameters are numbers or names."""
    groups = state_dict["param_groups"]
    layers: dict[str, Layer] = {}
    for group in groups.values() if isinstance(groups, Mapping) else groups:
        layers |= _layers_of_group(group)
    for i, state in state_dict["state"].items():
        if isinstance(state, Mapping):
            layer = layers.get(_name(i)) or _unknown_layer(_name(i))
            yield replace(layer, held={**layer.held, **state, **state.get(BNB_STATE_KEY, {})})


def _layers_of_group(group: Mapping[str, Any]) -> dict[str, Layer]:
    """The layers of a param group without their state, by number or name."""
    ids = group.get("params", ())
    names = _names(group, ids)
    group_settings, count = settings(group), _step_count(group)
    return {
        _name(i): Layer(
            _name(name), count, group_settings, numbered=not names and _name(i).isdecimal()
        )
        for i, name in zip(ids, names or ids, strict=True)
    }


def _unknown_layer(name: str) -> Layer:
    """A layer that no param group lists."""
    return Layer(name, {}, GroupSettings(), numbered=name.isdecimal())


def _names(group: Mapping[str, Any], ids: Any) -> list[str] | None:
    """The names of a group's parameters, if each parameter has a unique one."""
    names = group.get("param_names")
    if not isinstance(names, list | tuple) or len(names) != len(ids):
        return None
    usable = all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    return [*names] if usable else None


def _step_count(group: Mapping[str, Any]) -> dict[str, Any]:
    """The step count that apex, Megatron and Transformer Engine keep in the group; empty if there
    is none.
    """
    return {} if group.get("step") is None else {"step": group["step"]}


def _nested(flat: Mapping[Any, Any]) -> dict[str, Any]:
    """A flattened state dict in torch's nesting; in "state.0.weight.exp_avg" the parameter is
    "0.weight".
    """
    tops: dict[str, dict[str, dict[str, Any]]] = {"state": {}, "param_groups": {}}
    for key, value in flat.items():
        top, _, rest = key.partition(".") if isinstance(key, str) else ("", "", "")
        name, _, state_key = rest.rpartition(".")
        if top in tops and name:
            tops[top].setdefault(name, {})[state_key] = value
    groups = [
        {**group, "params": [name], "param_names": [name]}
        for name, group in tops["param_groups"].items()
    ]
    return {"state": tops["state"], "param_groups": groups}


def _of_zero(shard: Mapping[str, Any]) -> Iterator[Layer]:
    """The layers of one rank's ZeRO shard: flat groups, split at the boundaries of parameters."""
    base, paddings = shard["base_optimizer_state"], shard.get("group_paddings") or []
    is_elastic = not isinstance(base, Mapping)
    states = base if is_elastic else list(base.get("state", {}).values())
    groups = [] if is_elastic else list(base.get("param_groups", ()))
    step = shard.get("base_optimizer_state_step")
    count = {} if step is None else {"step": step}
    for i, state in enumerate(states):
        group = groups[i] if i < len(groups) else None
        group_count = {} if group is None else _step_count(group)
        group_settings = GroupSettings() if group is None else settings(group)
        slices = (shard.get("param_slice_mappings") or [{}] * (i + 1))[i]
        flat = Layer(f"group {i}", {**count, **group_count, **state}, group_settings)
        yield from _split(flat, slices, 0 if is_elastic or i >= len(paddings) else int(paddings[i]))


def _split(layer: Layer, slices: Mapping[str, Any], padding: int) -> Iterator[Layer]:
    """The layers of a flat group; the whole group without its padding if the slices are unknown."""
    flat = {key: x for key, x in layer.held.items() if isinstance(x, Tensor) and x.dim()}
    length = max((x.numel() for x in flat.values()), default=0) - padding
    bounds = {
        _name(name): (part.start, part.start + part.numel)
        for name, part in slices.items()
        if hasattr(part, "numel")
    }
    for name, (start, end) in (bounds or {layer.name: (0, length)}).items():
        tensors = {key: x[start:end] for key, x in flat.items()}
        yield replace(layer, name=name, held={**layer.held, **tensors})


def _of_flat(tensors: Mapping[str, Tensor], group: Mapping[str, Any]) -> Iterator[Layer]:
    """The layers of tensors with names such as "state.0.exp_avg" or "exp_avg.lm_head.weight"."""
    states: dict[str, dict[str, Any]] = {}
    for name, x in tensors.items():
        parts = name.split(".")
        key = next((p for p in (parts[-1], parts[0]) if p.removesuffix(SCALE) in STATE_KEYS), None)
        if key:
            parts.remove(key)
            states.setdefault(".".join(parts) or "x", {})[key] = x
    shared = states.pop("x", {}) if set(states.get("x", {})) == {"step"} else {}
    for name, state in states.items():
        if not set(state) <= {"step"}:
            name = name.removeprefix("state.")
            held = {**_step_count(group), **shared, **state}
            yield Layer(name, held, settings(group), numbered=name.isdecimal())
