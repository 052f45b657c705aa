"""Samples of gradients, weights and optimizer state around a step."""
