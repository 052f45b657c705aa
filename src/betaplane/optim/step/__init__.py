"""One step of one parameter: the options around a rule, its reference implementation, and torch's
fused kernels.
"""
