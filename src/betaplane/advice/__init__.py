"""Recommended AdamW settings with reasons, from closed forms, published sweeps and measurements."""

from betaplane.advice.advice import Advice
from betaplane.advice.advise import advise
from betaplane.advice.evidence import Evidence, Experiment, LrSweep, Source, evidence
from betaplane.advice.half_lives import Spread
from betaplane.advice.measurements import Checkpoint, Window, read_checkpoint, window
from betaplane.advice.notes import Note, notes
from betaplane.advice.optuna import optuna_betas
from betaplane.advice.recommendation import CONFIDENCE, Candidate, Recommendation
from betaplane.advice.settings import Settings, carried, settings
from betaplane.call_errors import explain_calls

__all__ = [
    "CONFIDENCE",
    "Advice",
    "Candidate",
    "Checkpoint",
    "Evidence",
    "Experiment",
    "LrSweep",
    "Note",
    "Recommendation",
    "Settings",
    "Source",
    "Spread",
    "Window",
    "advise",
    "carried",
    "evidence",
    "notes",
    "optuna_betas",
    "read_checkpoint",
    "settings",
    "window",
]

explain_calls(__name__)
