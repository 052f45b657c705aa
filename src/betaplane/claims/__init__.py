"""What the literature says about Adam, re-checked: experiments, verdicts and a report."""

from betaplane.call_errors import explain_calls
from betaplane.claims.catalog import ALL, load_claim
from betaplane.claims.checks import AtLeast, AtMost, Below, Check, Near, Same
from betaplane.claims.claim import Claim, Source
from betaplane.claims.figure import Heat, Panel, Series, Table
from betaplane.claims.lab import Lab
from betaplane.claims.measured import Measured
from betaplane.claims.result import Result, run_claim, shipped
from betaplane.claims.store import ClaimStore
from betaplane.claims.verdict import Verdict, judge

__all__ = [
    "ALL",
    "AtLeast",
    "AtMost",
    "Below",
    "Check",
    "Claim",
    "ClaimStore",
    "Heat",
    "Lab",
    "Measured",
    "Near",
    "Panel",
    "Result",
    "Same",
    "Series",
    "Source",
    "Table",
    "Verdict",
    "judge",
    "load_claim",
    "run_claim",
    "shipped",
]

explain_calls(__name__)
