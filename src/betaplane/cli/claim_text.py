"""Claims and their results as text and as JSON."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from betaplane.claims import words
from betaplane.claims.claim import Claim
from betaplane.claims.figure import Table
from betaplane.claims.result import Result
from betaplane.cli.tables import borderless

WIDTH = 100


def print_claim(claim: Claim, result: Result | None) -> None:
    """Print a claim, and what was measured if there is a result."""
    console = Console(highlight=False, markup=False, soft_wrap=False)
    console.print(f"\n{claim.title}", style="bold")
    console.print(claim.statement, width=WIDTH)
    for source in claim.sources:
        console.print(f"Source: {source}.")
    if claim.setting:
        console.print(f"Here: {claim.setting}", width=WIDTH)
    if result is None:
        _print_rule(console, claim)
        console.print(f"Not run yet: {claim.command}")
        return
    verdict = result.verdict(claim)
    for table in (words.quantities(result), words.rule_table(verdict), *result.tables):
        _print_table(console, table)
    console.print(f"\n{claim.name}: {verdict.text}", style="bold")
    console.print(f"{words.change(verdict)}", width=WIDTH)
    console.print(f"{words.facts(claim, result)}. {claim.command}")


def claim_data(claim: Claim, result: Result | None) -> dict[str, Any]:
    """A claim and its result as JSON data."""
    data: dict[str, Any] = {
        "name": claim.name,
        "title": claim.title,
        "statement": claim.statement,
        "sources": [str(source) for source in claim.sources],
        "setting": claim.setting,
        "rule": [str(check) for check in claim.rule()],
        "command": claim.command,
    }
    if result is None:
        return data | {"verdict": "not run"}
    verdict = result.verdict(claim)
    checks = [
        {"condition": text, "measured": shown, "state": state}
        for text, shown, state in words.rule_table(verdict).rows
    ]
    return data | {"verdict": verdict.text, "checks": checks, "result": result.to_dict()}


def _print_rule(console: Console, claim: Claim) -> None:
    console.print("The rule of the verdict:")
    for check in claim.rule():
        when = f" ({check.when})" if check.when else ""
        console.print(f"  {check}{when}")


def _print_table(console: Console, table: Table) -> None:
    console.print(f"\n{table.title}" if table.title else "")
    grid = borderless(*table.columns)
    for row in table.rows:
        grid.add_row(*(words.cell(value) for value in row))
    console.print(grid)
