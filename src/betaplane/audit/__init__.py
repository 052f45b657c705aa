"""Identify what an optimizer class computes, from outside."""

from betaplane.audit.audit import Audit, audit

__all__ = ["Audit", "audit"]
