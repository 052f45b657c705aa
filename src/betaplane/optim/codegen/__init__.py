"""Compiled steps: trace a rule's operations, write them as C, compile, and run them on lists of
tensors.
"""
