"""Failing and healthy training runs with known causes, for the tests and the benchmarks."""
