"""Quantities computed from samples, each with its unit."""
