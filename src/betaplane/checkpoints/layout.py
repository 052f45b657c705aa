"""Finds the optimizer states in what a file holds, by the way they are laid out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from betaplane.checkpoints.layer import ADAM, FIRST, SECOND, Layer, Settings, settings
from betaplane.optim.formats import SCALE

DEEP = 6  # how many levels down a state dict may lie
NESTED = "__bnb_optimizer_quant_state__"  # where bitsandbytes puts the moments


def found(held: Any, deep: int = 0) -> Iterator[Layer]:
    """The layers of every state dict in a nest of dicts and lists."""
    if isinstance(held, Mapping):
        flat = _nested(held)
        if flat["param_groups"]:
            yield from _of_state_dict(flat)
        if "state" in held and "param_groups" in held and isinstance(held["state"], Mapping):
            yield from _of_state_dict(held)
            return
        if "base_optimizer_state" in held:
            yield from _of_zero(held)
            return
        if "flat" in held and "group" in held:
            yield from _of_flat(held["flat"], held["group"])
            return
    children = held.values() if isinstance(held, Mapping) else held if isinstance(held, list | tuple) else ()
    shapes = _shapes(held)
    for child in children if deep < DEEP else ():
        yield from _named(list(found(child, deep + 1)), shapes)


def _of_state_dict(held: Mapping[str, Any]) -> Iterator[Layer]:
    """The layers of torch's state dict; parameters are numbers or names."""
    groups = held["param_groups"]
    owner: dict[str, tuple[str, Settings]] = {}
    for group in groups.values() if isinstance(groups, Mapping) else groups:
        ids = group.get("params", ())
        names = group.get("param_names") or ids
        owner |= {str(i): (str(name), settings(group)) for i, name in zip(ids, names, strict=True)}
    for i, state in held["state"].items():
        if isinstance(state, Mapping):
            name, told = owner.get(str(i), (str(i), Settings()))
            yield Layer(name, {**state, **state.get(NESTED, {})}, told)


def _nested(held: Mapping[Any, Any]) -> dict[str, Any]:
    """A flattened state dict as torch nests it: of "state.0.weight.exp_avg" the parameter is "0.weight"."""
    tops: dict[str, dict[str, dict[str, Any]]] = {"state": {}, "param_groups": {}}
    for key, value in held.items():
        top, _, place = str(key).partition(".")
        name, _, word = place.rpartition(".")
        if top in tops and name:
            tops[top].setdefault(name, {})[word] = value
    groups = [{**group, "params": [name], "param_names": [name]} for name, group in tops["param_groups"].items()]
    return {"state": tops["state"], "param_groups": groups}


def _of_zero(held: Mapping[str, Any]) -> Iterator[Layer]:
    """The layers of one process's shard: flat groups, cut at the places where parameters begin."""
    base, pads = held["base_optimizer_state"], held.get("group_paddings") or []
    elastic = not isinstance(base, Mapping)
    states = base if elastic else list(base.get("state", {}).values())
    told = [settings(group) for group in () if elastic] or [settings(g) for g in _groups(base)]
    step = held.get("base_optimizer_state_step")
    for i, state in enumerate(states):
        state = {**({} if step is None else {"step": step}), **state}
        cuts = (held.get("param_slice_mappings") or [{}] * (i + 1))[i]
        whole = Layer(f"group {i}", state, told[i] if i < len(told) else Settings())
        yield from _cut(whole, cuts, 0 if elastic or i >= len(pads) else int(pads[i]))


def _groups(base: Any) -> list[Mapping[str, Any]]:
    return list(base.get("param_groups", ())) if isinstance(base, Mapping) else []


def _cut(layer: Layer, cuts: Mapping[str, Any], pad: int) -> Iterator[Layer]:
    flat = {word: x for word, x in layer.held.items() if isinstance(x, Tensor) and x.dim()}
    length = max((x.numel() for x in flat.values()), default=0) - pad
    places = {name: (at.start, at.start + at.numel) for name, at in cuts.items() if hasattr(at, "numel")}
    for name, (start, end) in (places or {layer.name: (0, length)}).items():
        yield replace(layer, name=name, held={**layer.held, **{word: x[start:end] for word, x in flat.items()}})


def _of_flat(tensors: Mapping[str, Tensor], group: Mapping[str, Any]) -> Iterator[Layer]:
    """The layers of tensors under names such as "state.0.exp_avg" or "exp_avg.lm_head.weight"."""
    states: dict[str, dict[str, Any]] = {}
    for name, x in tensors.items():
        parts = name.split(".")
        word = next((p for p in (parts[-1], parts[0]) if p.removesuffix(SCALE) in {*ADAM, *FIRST, *SECOND}), None)
        if word:
            parts.remove(word)
            states.setdefault(".".join(parts) or "x", {})[word] = x
    shared = states.pop("x", {}) if set(states.get("x", {})) == {"step"} else {}
    for name, state in states.items():
        if not set(state) <= {"step"}:
            yield Layer(name.removeprefix("state."), {**shared, **state}, settings(group))


def _shapes(held: Any) -> list[dict[str, Any]]:
    """The models beside a state dict: names with shapes, in order."""
    inside = held.values() if isinstance(held, Mapping) else ()
    models = [x for x in inside if isinstance(x, Mapping) and x and all(isinstance(y, Tensor) for y in x.values())]
    return [{name: x.shape for name, x in model.items() if x.is_floating_point()} for model in models]


def _named(layers: list[Layer], models: list[dict[str, Any]]) -> list[Layer]:
    """The layers by the names of a model with the same shapes in the same order, where theirs are only numbers."""
    moments = [next((x.held[w] for w in (*FIRST, *SECOND) if w in x.held), None) for x in layers]
    shapes = [getattr(x, "shape", None) for x in moments]
    for model in models:
        if list(model.values()) == shapes and all(layer.name.isdigit() for layer in layers):
            return [replace(layer, name=name) for layer, name in zip(layers, model, strict=True)]
    return layers
