"""Public callables explain arguments that do not fit, and stay what they are for all other uses."""

from __future__ import annotations

import inspect
import pickle
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

import pytest
import torch

import betaplane
from betaplane.errors import BadInput

# the exceptions and checks of `errors` are for the package's own code
PACKAGES = [name for name in betaplane._PACKAGES if name != "errors"]
every_package = pytest.mark.parametrize("package", PACKAGES)
api: Any = betaplane  # type checkers reject the calls below
MISSPELT = "zzz_no_such_argument"


def is_own(value: Any) -> bool:
    return callable(value) and value.__module__.startswith("betaplane.")


def public_callables(package: str) -> Iterator[tuple[str, Any]]:
    """The public functions and classes of a package, by name."""
    module = import_module(f"betaplane.{package}")
    for name in module.__all__:
        if is_own(getattr(module, name)):
            yield name, getattr(module, name)


def public_methods(package: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The methods of a package's public classes, by qualified name, as functions of the object."""
    if package in ("rules", "optim"):  # the steps of rules and optimizers are traced
        return
    for kind_name, kind in public_callables(package):
        for name in dir(kind) if isinstance(kind, type) else ():
            value = inspect.getattr_static(kind, name)
            own = getattr(value, "__module__", "") or ""
            if name.startswith("_") or not own.startswith("betaplane."):
                continue
            if inspect.isfunction(value):
                yield f"{kind_name}.{name}", partial(value, None)
            elif isinstance(value, classmethod | staticmethod):
                yield f"{kind_name}.{name}", getattr(kind, name)


def takes_any_name(function: Callable[..., Any]) -> bool:
    """Whether a function has further arguments of any name, which it checks itself."""
    parameters = inspect.signature(function).parameters.values()
    return any(p.kind is p.VAR_KEYWORD for p in parameters) or hasattr(function, "rule")


@every_package
def test_misspelt_argument_raises_one_sentence(package: str) -> None:
    for name, function in (*public_callables(package), *public_methods(package)):
        if not takes_any_name(function):
            with pytest.raises(BadInput) as error:
                function(**{MISSPELT: 1})
            text = str(error.value)
            assert (
                text.startswith(f"Unknown argument '{MISSPELT}'") or "takes no arguments" in text
            ), name
            assert "\n" not in text


@every_package
def test_misspelt_argument_gets_the_nearest_name(package: str) -> None:
    checked = 0
    for _, function in public_callables(package):
        names = inspect.signature(function).parameters
        longest = max(names, key=len, default="")
        if len(longest) > 4 and not takes_any_name(function):
            with pytest.raises(BadInput, match=f"Did you mean '{longest}'"):
                function(**{longest + "x": 1})
            checked += 1
    assert checked or package == "audit"


@every_package
def test_missing_argument_is_named(package: str) -> None:
    for name, function in public_callables(package):
        parameters = inspect.signature(function).parameters.values()
        required = [
            p.name for p in parameters if p.default is p.empty and p.kind.value in (0, 1, 3)
        ]
        if required:
            with pytest.raises(BadInput, match=f"{name} requires {', '.join(required)}. Try: "):
                function()


@every_package
def test_too_many_arguments_are_counted(package: str) -> None:
    for name, function in public_callables(package):
        parameters = inspect.signature(function).parameters.values()
        if not any(p.kind is p.VAR_POSITIONAL for p in parameters) and not hasattr(
            function, "rule"
        ):
            with pytest.raises(
                BadInput,
                match=f"{name} takes at most .* by position: got 50|{name} takes no arguments",
            ):
                function(*range(50))


@every_package
def test_public_callable_is_pickled_by_name_and_keeps_its_documentation(package: str) -> None:
    for name, function in public_callables(package):
        assert pickle.loads(pickle.dumps(function)) is function, name
        assert inspect.getdoc(function)
        assert function.__name__ == name
        assert getattr(inspect.unwrap(function), "__code__", None) or isinstance(function, type)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: api.advise(batch_sise=3), "Did you mean 'batch_size'"),
        (lambda: api.Trainer(lr=1), "Unknown argument 'lr'. Choose one of: name, train, "),
        (lambda: api.png(1, 2), "png takes at most 1 argument by position: got 2"),
        (lambda: api.axis("x"), "axis requires low, high, points. Try: axis(name, low, "),
        (lambda: api.axis("lr", 1, 2, 3, low=1), "multiple values for argument 'low'"),
        (lambda: api.map_phases("quadratic", pionts=3), "Did you mean 'points'"),
        (lambda: api.audit.audit(torch.optim.SGD, lrr=3), "lrr"),
        (lambda: api.AdamW(), "AdamW requires params. Try: AdamW(params, ...)"),
        (lambda: api.Lion(), "Lion requires params. Try: Lion(params, ...)"),
    ],
)
def test_error_names_what_does_not_fit(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(BadInput) as error:
        call()
    assert text in str(error.value)


def test_type_error_from_inside_a_call_is_not_replaced() -> None:
    def train(settings: dict[str, float], seed: int) -> list[float]:
        return [1.0 + "one"]  # type: ignore[operator]

    trainer = betaplane.Trainer("mine", train)
    with pytest.raises(TypeError, match="unsupported operand") as error:
        trainer.train({}, 0)
    assert not isinstance(error.value, BadInput)


def test_warning_of_a_constructor_names_the_line_that_calls_it() -> None:
    p = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        betaplane.AdamW([p], lr=1e-5)
        betaplane.Lion([p], lr=1e-5)
    assert [warning.filename for warning in caught] == [__file__, __file__]


def test_error_is_a_type_error_too() -> None:
    with pytest.raises(TypeError, match="axis requires low, high, points"):
        api.axis("x")
