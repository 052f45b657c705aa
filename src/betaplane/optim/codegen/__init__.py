"""Passes as machine code: a rule's own operations recorded, written as C, built, and called on
lists of tensors.
"""
