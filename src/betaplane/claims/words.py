"""The parts of a claim and its result as text: shared by the terminal, the page and Markdown."""

from __future__ import annotations

from betaplane.claims.checks import number
from betaplane.claims.claim import Claim
from betaplane.claims.figure import Table
from betaplane.claims.measured import Measured
from betaplane.claims.result import Result, digest
from betaplane.claims.verdict import Judged, Verdict


def value_text(quantity: Measured) -> str:
    """The mean, with its interval if there are several seeds."""
    low, high = quantity.interval
    if low == high:
        return number(low)
    return f"{number(quantity.mean)} ({number(low)} to {number(high)})"


def quantities(result: Result) -> Table:
    """Quantities and values; with the published values and the differences in setting, if any."""
    rows = []
    for name, quantity in result.measured.items():
        unit = f" {quantity.unit}" if quantity.unit else ""
        published = "" if quantity.published is None else number(quantity.published) + unit
        rows.append((name, value_text(quantity) + unit, published, quantity.note))
    columns = ("measured", "value", "published", "")
    used = 1 + max((i for row in rows for i, text in enumerate(row) if text), default=1)
    return Table("", columns[:used], [row[:used] for row in rows])


def rule_table(verdict: Verdict) -> Table:
    """Conditions, measured values and outcomes."""
    rows = [(condition(judged), judged.shown, judged.state) for judged in verdict.judged]
    return Table("", ("rule of the verdict", "measured", "outcome"), rows)


def condition(judged: Judged) -> str:
    """The condition of a check, with the one under which it is checked."""
    when = judged.check.when
    return f"{judged.check} ({when})" if when else str(judged.check)


def change(verdict: Verdict) -> str:
    """What would change the verdict, in a sentence."""
    deciding = [j for j in verdict.judged if j.state in ("holds", "fails", "undecided")]
    if verdict.holds:
        return "The verdict would change if one of these conditions failed."
    wanted = [condition(j) for j in deciding if j.state != "holds"]
    return f"The verdict would change if this held: {'; '.join(wanted)}."


def facts(claim: Claim, result: Result) -> str:
    """Run time, seeds and versions, in a line."""
    made = result.made_with
    seeds = "exact" if result.seeds == 1 else f"{result.seeds} seeds"
    commit = f", commit {made['commit']}" if made.get("commit") else ""
    outdated = "" if made["experiment"] == digest(claim) else "; the experiment has changed since"
    return (
        f"{result.seconds:.1f} s, {seeds}, betaplane {made['betaplane']}{commit}, "
        f"torch {made['torch']}, Python {made['python']}{outdated}"
    )


def cell(value: object) -> str:
    """A cell of a table; numbers have up to 5 digits."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else number(value)
