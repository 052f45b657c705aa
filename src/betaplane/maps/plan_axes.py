"""The axes of a plan, from a name, a name and its range, or an Axis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from betaplane.errors import BadInput, unknown
from betaplane.maps.grid import NAMES, RANGES, Axis, Scale, axis, check_own_axis, is_of_group
from betaplane.maps.validation import axis_range
from betaplane.text import setting_of

# The accepted forms of an axis
Along = (
    str
    | Axis
    | tuple[str, float | None, float | None]
    | tuple[str, float | None, float | None, Scale | None]
)


class AxisNames(NamedTuple):
    """The names that axes of a problem may have."""

    options: Mapping[str, bool]  # of a built-in problem, and whether each is a whole number
    own: bool  # any name: a hyperparameter of the user's own
    of_groups: tuple[str, ...]  # settings that a parameter group may have

    def is_known(self, name: str) -> bool:
        """Whether a name is one besides `NAMES`."""
        return self.own or name in self.options or is_of_group(name)

    def check(self, name: str, low: float | None, high: float | None, argument: str) -> None:
        """Raise BadInput for a hyperparameter of the user's own or a setting of a group that cannot
        be an axis.
        """
        if self.own and name not in NAMES:
            check_own_axis(name, low, high, argument)
        elif is_of_group(name) and setting_of(name) not in self.of_groups:
            noun, group = "setting of a parameter group", name.rpartition(".")[0]
            instead = f'{argument}="{group}.{{}}"'
            raise unknown(noun, setting_of(name), self.of_groups, where=argument, instead=instead)


def axis_along(along: Along, points: int, argument: str, scale: Scale, names: AxisNames) -> Axis:
    """The axis that an argument describes; see `plan_for`."""
    if isinstance(along, Axis):
        return along
    name, low, high, own_scale = axis_range(along, argument)
    names.check(name, low, high, argument)
    whole = None if name in NAMES else names.options.get(name)
    if whole is not None and (low is None or high is None):
        raise BadInput(
            f"The axis {name}, an option of the problem, has no range",
            where=argument,
            instead=f'{argument}=("{name}", 5, 50)',
        )
    default_low, default_high = RANGES.get(setting_of(name), (0.0, 1.0))
    low = default_low if low is None else low
    high = default_high if high is None else high
    scale = own_scale or scale
    known = (*NAMES, *names.options, *([name] if names.is_known(name) else []))
    return axis(name, low, high, points, scale=scale, whole=whole, argument=argument, known=known)
