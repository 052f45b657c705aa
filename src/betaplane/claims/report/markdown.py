"""The results of all claims as Markdown pages with pictures, for the documentation."""

from __future__ import annotations

from collections.abc import Sequence

from betaplane.claims import words
from betaplane.claims.catalog import ALL, load_claim
from betaplane.claims.claim import Claim
from betaplane.claims.draw import svg
from betaplane.claims.figure import Table
from betaplane.claims.result import Result
from betaplane.claims.store import ClaimStore, latest

HEAD = """\
# What the literature says about Adam

`betaplane claims` re-checks published claims at a size that a laptop can run. Each claim has an
experiment and a rule that is stated beside its numbers: it *holds*, *holds when* a
condition is met, *does not hold here*, or is *undecided*, if an interval over seeds contains its
bound. Values are means over seeds with 95% intervals. All contenders of a claim are tuned alike, and
the tuning is on its page.

`betaplane claims run NAME` measures one again, `betaplane claims run all` all that are not slow, and
`betaplane claims report` writes this page from your own results.
"""


MARKS = "|*_<"  # characters that Markdown would read as markup


def markdown_pages(store: ClaimStore | None = None) -> dict[str, str]:
    """Pages and pictures by file name: an index, and a page per claim that has a result.

    Args:
        store: results that take the place of those in the package.
    """
    pages: dict[str, str] = {}
    rows = []
    for claim in map(load_claim, ALL):
        result = latest(claim, store)
        if result is None:
            rows.append((claim.title, "not run", ""))
            continue
        pages |= _page(claim, result)
        seconds = f"{result.seconds:.1f} s"
        rows.append((f"[{claim.title}]({claim.name}.md)", result.verdict(claim).text, seconds))
    return {
        "index.md": f"{HEAD}\n{_table(Table('', ('claim', 'verdict', 'run time'), rows))}"
    } | pages


def _page(claim: Claim, result: Result) -> dict[str, str]:
    verdict = result.verdict(claim)
    pictures = {f"{claim.name}-{i}.svg": svg(p) for i, p in enumerate(result.panels, start=1)}
    shown = zip(pictures, result.panels, strict=True)
    sources = "; ".join(str(source) for source in claim.sources)
    parts = [
        f"# {claim.title}",
        _prose(claim.statement),
        f"**Verdict: {verdict.text}.** {_prose(words.change(verdict))}",
        f"Source: {sources}.",
        _prose(f"Here: {claim.setting}") if claim.setting else "",
        "\n".join(f"![{_prose(panel.title)}]({name})" for name, panel in shown),
        _table(words.quantities(result)),
        _table(words.rule_table(verdict)),
        *(f"{_prose(table.title)}:\n\n{_table(table)}" for table in result.tables),
        f"{_prose(words.facts(claim, result))}. Reproduce it: `{claim.command}`.",
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    return {f"{claim.name}.md": text} | pictures


def _table(table: Table) -> str:
    lines = [_row(table.columns), _row(["---"] * len(table.columns))]
    lines += [_row([_cell(value) for value in row]) for row in table.rows]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _prose(text: str) -> str:
    """Text in which nothing is markup."""
    for mark in MARKS:
        text = text.replace(mark, f"\\{mark}")
    return text


def _cell(value: object) -> str:
    text = words.cell(value)
    return text if text.startswith("[") else _prose(text)
