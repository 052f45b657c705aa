"""Find the optimizers' states in what a file holds, by the way they are laid out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from torch import Tensor

from betaplane.checkpoints.layer import ADAM, FIRST, SECOND, GroupSettings, Layer, settings, short
from betaplane.optim.storage_formats import SCALE

DEEP = 6  # how many levels down a state dict may lie
MOST = 200_000  # containers that are looked into
LONGEST_NAME = 1000
NESTED = "__bnb_optimizer_quant_state__"  # where bitsandbytes puts the moments


@dataclass
class Contents:
    """What a file holds: the layers of each optimizer by its place, and the models, names with
    tensors.
    """

    optimizers: list[tuple[str, list[Layer]]] = field(default_factory=list)
    models: list[Mapping[str, Tensor]] = field(default_factory=list)


def contents(held: Any) -> Contents:
    """The optimizers and models in a nest of dicts and lists; each container is looked into once."""
    found, waiting, seen = Contents(), [((), held)], set[int]()
    while waiting:
        place, each = waiting.pop()
        if id(each) in seen or not isinstance(each, Mapping | list | tuple):
            continue
        seen.add(id(each))
        states = _states(each) if isinstance(each, Mapping) else []
        found.optimizers += [(".".join(place), list(layers)) for layers in states]
        if isinstance(each, Mapping) and _is_model(each):
            found.models.append(each)
        elif not states and len(place) <= DEEP:
            waiting += [*_children(each, place)][::-1]
            if len(waiting) + len(seen) > MOST:
                raise ValueError(f"it has more than {MOST:,} dicts and lists")
    return found


def _children(held: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The containers in a container with their places; no more of them than are looked into."""
    pairs = held.items() if isinstance(held, Mapping) else enumerate(held)
    nests = ((key, child) for key, child in pairs if isinstance(child, Mapping | list | tuple))
    for key, child in islice(nests, MOST):
        yield (*place, str(key) if isinstance(key, str | int) else "?"), child


def _is_model(held: Mapping[Any, Any]) -> bool:
    return bool(held) and all(
        isinstance(x, Tensor) and isinstance(name, str) for name, x in held.items()
    )


def _text(key: Any) -> str:
    """A name or number as text.

    Raises:
        ValueError: it is anything else, or longer than a name.
    """
    if not isinstance(key, str | int) or len(str(key)) > LONGEST_NAME:
        raise ValueError(f"{short(key)} is no name of a parameter")
    return str(key)


def _states(held: Mapping[Any, Any]) -> list[Iterator[Layer]]:
    """The optimizers that a dict is the state of, usually one or none."""
    if "state" in held and "param_groups" in held and isinstance(held["state"], Mapping):
        return [_of_state_dict(held)]
    if "base_optimizer_state" in held:
        return [_of_zero(held)]
    if "flat" in held and "group" in held:
        return [_of_flat(held["flat"], held["group"])]
    flat = _nested(held)
    return [_of_state_dict(flat)] if flat["param_groups"] else []


def _of_state_dict(held: Mapping[str, Any]) -> Iterator[Layer]:
    """The layers of torch's state dict; parameters are numbers or names."""
    groups = held["param_groups"]
    owner: dict[str, Layer] = {}
    for group in groups.values() if isinstance(groups, Mapping) else groups:
        ids = group.get("params", ())
        names = _names(group, ids)
        told, shared = settings(group), _count_of(group)
        for i, name in zip(ids, names or ids, strict=True):
            owner[_text(i)] = Layer(
                _text(name), shared, told, numbered=not names and _text(i).isdecimal()
            )
    for i, state in held["state"].items():
        if isinstance(state, Mapping):
            layer = owner.get(_text(i)) or Layer(
                _text(i), {}, GroupSettings(), numbered=_text(i).isdecimal()
            )
            yield replace(layer, held={**layer.held, **state, **state.get(NESTED, {})})


def _names(group: Mapping[str, Any], ids: Any) -> list[str] | None:
    """The names of a group's parameters, if it has one for each; a name that stands twice names
    nothing.
    """
    names = group.get("param_names")
    if not isinstance(names, list | tuple) or len(names) != len(ids):
        return None
    usable = all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    return [*names] if usable else None


def _count_of(group: Mapping[str, Any]) -> dict[str, Any]:
    """The count of steps that apex, Megatron and Transformer Engine keep in the group; None there
    is no count.
    """
    return {} if group.get("step") is None else {"step": group["step"]}


def _nested(held: Mapping[Any, Any]) -> dict[str, Any]:
    """A flattened state dict as torch nests it: of "state.0.weight.exp_avg" the parameter is
    "0.weight".
    """
    tops: dict[str, dict[str, dict[str, Any]]] = {"state": {}, "param_groups": {}}
    for key, value in held.items():
        top, _, place = key.partition(".") if isinstance(key, str) else ("", "", "")
        name, _, word = place.rpartition(".")
        if top in tops and name:
            tops[top].setdefault(name, {})[word] = value
    groups = [
        {**group, "params": [name], "param_names": [name]}
        for name, group in tops["param_groups"].items()
    ]
    return {"state": tops["state"], "param_groups": groups}


def _of_zero(held: Mapping[str, Any]) -> Iterator[Layer]:
    """The layers of one rank's shard: flat groups, cut at the places where parameters begin."""
    base, pads = held["base_optimizer_state"], held.get("group_paddings") or []
    elastic = not isinstance(base, Mapping)
    states = base if elastic else list(base.get("state", {}).values())
    groups = [] if elastic else list(base.get("param_groups", ()))
    told, steps = [settings(group) for group in groups], [_count_of(group) for group in groups]
    step = held.get("base_optimizer_state_step")
    for i, state in enumerate(states):
        shared = {} if step is None else {"step": step}
        state = {**shared, **(steps[i] if i < len(steps) else {}), **state}
        cuts = (held.get("param_slice_mappings") or [{}] * (i + 1))[i]
        whole = Layer(f"group {i}", state, told[i] if i < len(told) else GroupSettings())
        yield from _cut(whole, cuts, 0 if elastic or i >= len(pads) else int(pads[i]))


def _cut(layer: Layer, cuts: Mapping[str, Any], pad: int) -> Iterator[Layer]:
    flat = {word: x for word, x in layer.held.items() if isinstance(x, Tensor) and x.dim()}
    length = max((x.numel() for x in flat.values()), default=0) - pad
    places = {
        _text(name): (at.start, at.start + at.numel)
        for name, at in cuts.items()
        if hasattr(at, "numel")
    }
    for name, (start, end) in (places or {layer.name: (0, length)}).items():
        yield replace(
            layer,
            name=name,
            held={**layer.held, **{word: x[start:end] for word, x in flat.items()}},
        )


def _of_flat(tensors: Mapping[str, Tensor], group: Mapping[str, Any]) -> Iterator[Layer]:
    """The layers of tensors under names such as "state.0.exp_avg" or "exp_avg.lm_head.weight"."""
    states: dict[str, dict[str, Any]] = {}
    for name, x in tensors.items():
        parts = name.split(".")
        word = next(
            (p for p in (parts[-1], parts[0]) if p.removesuffix(SCALE) in {*ADAM, *FIRST, *SECOND}),
            None,
        )
        if word:
            parts.remove(word)
            states.setdefault(".".join(parts) or "x", {})[word] = x
    shared = states.pop("x", {}) if set(states.get("x", {})) == {"step"} else {}
    for name, state in states.items():
        if not set(state) <= {"step"}:
            name = name.removeprefix("state.")
            yield Layer(
                name,
                {**_count_of(group), **shared, **state},
                settings(group),
                numbered=name.isdecimal(),
            )
