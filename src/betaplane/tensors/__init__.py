"""Tensor helpers that several packages share: DTensors and memory layout."""
