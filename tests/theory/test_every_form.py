"""Every closed form rejects NaN, documents its source, and treats arrays like floats."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from theory_checks import refuses

from betaplane import theory

VALID = {  # arguments that every function with a parameter of this name accepts
    "a": 1.2,
    "above": 4.5,
    "batch": 32.0,
    "base_width": 64.0,
    "beta": 0.9,
    "beta1": 0.8,
    "beta2": 0.95,
    "C": 300.0,
    "columns": 512.0,
    "condition": 10.0,
    "constant": 2.0,
    "b": 0.5,
    "curvature": 2.0,
    "decay": 0.5,
    "decay_from": 0.9,
    "degree": 4.0,
    "delta": 0.01,
    "element": 2.0,
    "end": 0.1,
    "epochs": 3.0,
    "eps": 1e-6,
    "eps_hat": 1e-6,
    "exponent": 0.5,
    "factor": 3.0,
    "fan_in": 64.0,
    "fan_out": 128.0,
    "gradient": 0.5,
    "half_life": 20.0,
    "history": 10.0,
    "horizon": 20.0,
    "i": 3,
    "k": 5.0,
    "kurtosis": 3.0,
    "lr": 1e-3,
    "moved": 1e-3,
    "n": 10,
    "noise_scale": 100.0,
    "normalized": 0.05,
    "peak": 1e-3,
    "peak_lr": 1e-2,
    "per_step": 2.0,
    "power": 0.7,
    "rank": 8.0,
    "rms": 0.6,
    "room": 30.0,
    "root_v": 1e-3,
    "rows": 256.0,
    "samples": 1000.0,
    "skewness": 0.5,
    "snr": 0.1,
    "start": 0.02,
    "steps": 100,
    "t": 12,
    "update": 1.1,
    "warm": 0.1,
    "weight_decay": 0.1,
    "width": 256.0,
    "within": 0.05,
}
OF_THEIR_OWN = {  # arguments of another kind, with rows of their own beside the other tests
    "preconditioned_curvature": "a matrix",
    "resting_root_v_of": "a matrix",
    "rms_ratio": "tensors",
    "variance_about_momentum": "a sequence",
    "weight_rms_path": "a sequence",
    "vanishing_gradient": "a name",
    "vanishing_eps": "a name",
    "adagrad_bound": "a record",
    "adam_bound": "a record",
    "amsgrad_regret": "a sequence",
}
OTHERS = ("boundary", "memory", "schedules")  # modules with tests of their own
FORMS = [
    form
    for name in theory.__all__
    if inspect.isfunction(form := getattr(theory, name))
    and name not in OF_THEIR_OWN
    and form.__module__.rsplit(".", 1)[1] not in OTHERS
]
EVERY = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)


def usual(form) -> dict[str, float]:
    """Good arguments for the parameters that are numbers."""
    return {
        name: VALID[name]
        for name, p in inspect.signature(form).parameters.items()
        if p.annotation != "bool"
    }


def values(found) -> list[np.ndarray]:
    """What came back, one array for each field."""
    return [np.asarray(field) for field in (found if isinstance(found, tuple) else (found,))]


@EVERY
def test_nan_is_refused_by_name(form) -> None:
    arguments = usual(form)
    for name in arguments:
        refuses(
            lambda name=name: form(**{**arguments, name: math.nan}),
            f"{name} is out of range: got nan",
        )


@EVERY
def test_arrays_are_treated_as_floats_are(form) -> None:
    """Three copies of one argument give three times the same answer; a float gives floats."""
    arguments = usual(form)
    once = values(form(**arguments))
    assert all(field.ndim == 0 or form is theory.extremal_gradients for field in once)
    for name, p in inspect.signature(form).parameters.items():
        if p.annotation.startswith("ArrayLike"):
            many = values(form(**{**arguments, name: [[arguments[name]] * 3]}))
            for one, field in zip(once, many, strict=True):
                assert field.shape in ((1, 3), ())  # () where this argument has no say in the field
                assert np.allclose(field, one, rtol=1e-12, equal_nan=True)


@EVERY
def test_every_form_tells_its_source(form) -> None:
    parts = ("Args:", "Returns:", "Raises:", "Source:", "Example:")
    assert all(part in form.__doc__ for part in parts)
