"""A setting as a line of Python that makes the optimizer."""

from __future__ import annotations

from collections.abc import Mapping

from betaplane.maps.grid import BETAS
from betaplane.maps.phase_map import PhaseMap

TORCH_RULES = ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "SGD", "Adagrad", "RMSprop")


def torch_line(phase_map: PhaseMap) -> str:
    """The recommendation as a line of Python; empty if there is none."""
    if phase_map.recommendation is None:
        return ""
    values = {**phase_map.fixed, **phase_map.recommendation.settings}
    rule = "Adam" if phase_map.rule == "AMSGrad" else phase_map.rule
    place = "torch.optim" if rule in TORCH_RULES else "betaplane"
    arguments = [_params(values), *_argument(values, "lr")]
    if "beta1" in values and "beta2" in values:
        arguments.append(f"betas={_betas(values)}")
    arguments += _argument(values, "eps")
    if values.get("weight_decay") or rule == "AdamW":  # the default of torch's AdamW is not 0
        arguments += _argument(values, "weight_decay")
    if phase_map.rule == "AMSGrad":
        arguments.append("amsgrad=True")
    return f"{place}.{rule}({', '.join(arguments)})"


def _params(values: Mapping[str, float]) -> str:
    """The first argument of an optimizer: all parameters, or groups with settings of their own.

    Example:
        >>> _params({"beta1": 0.9, "beta2": 0.999, "embedding.beta2": 0.99})
        '[{"params": embedding, "betas": (0.9, 0.99)}, {"params": others}]'
    """
    groups: dict[str, dict[str, float]] = {}
    for name, value in values.items():
        group, _, setting = name.rpartition(".")
        if group:
            groups.setdefault(group, {})[setting] = value
    if not groups:
        return "model.parameters()"
    listed = [f'{{"params": {name}, {_of_group(own, values)}}}' for name, own in groups.items()]
    return f'[{", ".join(listed)}, {{"params": others}}]'


def _of_group(own: Mapping[str, float], values: Mapping[str, float]) -> str:
    """The settings of a group, as in a dict; an optimizer takes both betas together."""
    texts = [f'"{name}": {_float(value)}' for name, value in own.items() if name not in BETAS]
    if len(texts) < len(own):
        texts.append(f'"betas": {_betas({**values, **own})}')
    return ", ".join(texts)


def _betas(values: Mapping[str, float]) -> str:
    return f"({', '.join(_float(values[name]) for name in BETAS if name in values)})"


def _argument(values: Mapping[str, float], name: str) -> list[str]:
    return [f"{name}={_float(values[name])}"] if name in values else []


def _float(value: float) -> str:
    """A number as a float literal, since torch requires betas to be floats, not 0."""
    return repr(float(f"{value:.12g}"))
