"""Healthy and sick checkpoints of real runs, made with the libraries that people save them with."""
