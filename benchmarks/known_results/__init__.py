"""Training against closed forms and published figures; `python -m benchmarks.known_results`."""
