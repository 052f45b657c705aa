"""Benchmarks: speed next to other libraries, and accuracy against known results; `python -m
benchmarks` runs them.
"""
