"""Simulate a map on ten thousand workers: python -m benchmarks.scheduler.

The project's own scheduler, chooser, store and map are driven; only the workers and the clock are
simulated. The scheduler's measured working time is part of the simulated time, so a slow scheduler
lets workers wait.
"""
