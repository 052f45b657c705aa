"""Identify what an optimizer class computes, from outside."""

from betaplane.audit.audit import Audit, audit
from betaplane.call_errors import explain_calls

__all__ = ["Audit", "audit"]

explain_calls(__name__)
