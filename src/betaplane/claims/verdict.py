"""The verdict on a claim: its checks, applied to what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from betaplane.claims.checks import Check, Results, State

HOLDS, FAILS, UNDECIDED = "holds", "does not hold here", "undecided"


@dataclass(frozen=True)
class Judged:
    """A check and its outcome."""

    check: Check
    state: State
    shown: str  # the compared value with its interval


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim, and the outcomes it follows from.

    A claim holds if all its checks hold. If checks with a condition hold at some of their
    conditions only, it "holds when" they are met. It does not hold if a check without a condition
    fails, or if no condition is met. Otherwise it is undecided: an interval contains its bound.
    """

    text: str  # "holds", "holds when ...", "does not hold here" or "undecided"
    judged: tuple[Judged, ...]

    @property
    def holds(self) -> bool:
        """Whether it holds, with or without a condition."""
        return self.text.startswith(HOLDS)


def judge(checks: Sequence[Check], results: Results) -> Verdict:
    """Apply the checks to the measured quantities."""
    judged = tuple(Judged(c, c.state(results), c.shown(results)) for c in checks)
    return Verdict(_text([j for j in judged if j.state != "not measured"]), judged)


def _text(judged: Sequence[Judged]) -> str:
    always = {j.state for j in judged if not j.check.when}
    conditions = list(dict.fromkeys(j.check.when for j in judged if j.check.when))
    by_condition = {when: {j.state for j in judged if j.check.when == when} for when in conditions}
    if "fails" in always:
        return FAILS
    if "undecided" in always or not judged:
        return UNDECIDED
    met = [when for when, states in by_condition.items() if states == {"holds"}]
    if len(met) == len(conditions):
        return HOLDS
    if met:
        return f"{HOLDS} when {' and when '.join(met)}"
    return FAILS if all("fails" in states for states in by_condition.values()) else UNDECIDED
