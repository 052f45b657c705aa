"""The results of all claims as one HTML page, without a script or a file beside it."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from string import Template

from betaplane.claims import words
from betaplane.claims.catalog import ALL, load_claim
from betaplane.claims.claim import Claim
from betaplane.claims.draw import svg
from betaplane.claims.figure import Table
from betaplane.claims.result import Result
from betaplane.claims.store import ClaimStore, latest

CLASSES = {"holds": "good", "does not hold here": "failing", "undecided": "degraded"}


def html_page(store: ClaimStore | None = None) -> str:
    """Write the latest results as one page.

    Args:
        store: results that take the place of those in the package.
    """
    pairs = [(claim, latest(claim, store)) for claim in map(load_claim, ALL)]
    template = files("betaplane.claims.report").joinpath("page.html").read_text(encoding="utf-8")
    measured = [(claim, result) for claim, result in pairs if result is not None]
    seconds = sum(result.seconds for _, result in measured)
    return Template(template).substitute(
        summary=f"{len(measured)} claims, {seconds / 60:.1f} minutes of computing on one core in all",
        overview="\n".join(_overview(claim, result) for claim, result in pairs),
        claims="\n".join(_section(claim, result) for claim, result in measured),
    )


def _overview(claim: Claim, result: Result | None) -> str:
    if result is None:
        return (
            f"<tr><td>{escape(claim.title)}</td><td>not run: <code>{claim.command}</code></td></tr>"
        )
    text = result.verdict(claim).text
    link = f'<a href="#{claim.name}">{escape(claim.title)}</a>'
    return f"<tr><td>{link}</td><td>{_chip(text)}</td></tr>"


def _chip(verdict: str) -> str:
    kind = CLASSES.get(verdict, "degraded")
    return f'<span class="chip {kind}">{escape(verdict)}</span>'


def _section(claim: Claim, result: Result) -> str:
    verdict = result.verdict(claim)
    sources = "; ".join(escape(str(source)) for source in claim.sources)
    setting = f"<p>Here: {escape(claim.setting)}</p>" if claim.setting else ""
    return "\n".join(
        [
            f'<section id="{claim.name}">',
            f"<h2>{escape(claim.title)} {_chip(verdict.text)}</h2>",
            f"<p>{escape(claim.statement)}</p>",
            f'<p class="source">Source: {sources}.</p>{setting}',
            f'<div class="panels">{"".join(_figure(svg(panel)) for panel in result.panels)}</div>',
            _table(words.quantities(result)),
            _table(words.rule_table(verdict)),
            *map(_details, result.tables),
            f'<p class="source">{escape(words.change(verdict))}</p>',
            f'<p class="source">{escape(words.facts(claim, result))}</p>',
            f"<p><code>{escape(claim.command)}</code></p></section>",
        ]
    )


def _figure(picture: str) -> str:
    return f"<figure>{picture}</figure>"


def _details(table: Table) -> str:
    return f"<details><summary>{escape(table.title)}</summary>{_table(table)}</details>"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    parts = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table>{parts}</table></div>'


def _cell(value: object) -> str:
    return f"<td>{escape(words.cell(value))}</td>"
