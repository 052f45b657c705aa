"""Control characters never reach a terminal as they are."""

from __future__ import annotations

import json
import pickle

import pytest

from betaplane.errors import BadInput
from betaplane.text import format_beta, json_safe, printable

CONTROLS = [
    "\x1b[2J",
    "a\nb",
    "a\rb",
    "\x9b31m",
    "\u202eabc",
    "\u2066x\u2069",
    "\x00",
    "\ud800",
    "\u200b",
    "\x7f",
    "\u2028",
]


@pytest.mark.parametrize("text", CONTROLS)
def test_control_characters_are_escaped(text: str):
    assert printable(text).isprintable()
    assert printable(text).encode("utf-8")


@pytest.mark.parametrize("text", ["layer.0.weight", "größe µ 層 🙂", "", "a b"])
def test_ordinary_text_stays_as_it_is(text: str):
    assert printable(text) == text


@pytest.mark.parametrize("text", CONTROLS)
def test_an_error_is_one_printable_line(text: str):
    error = BadInput(f"No {text}", value=text, allowed=text, where=text, instead=text)
    assert str(error).isprintable()
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    ("beta", "text"),
    [
        (0.0, "0"),
        (0.5, "0.5"),
        (0.3333333, "0.333"),
        (0.9995, "0.9995"),
        (1.0, "1"),
        (-0.1, "-0.1"),
    ],
)
def test_a_beta_is_written_with_two_digits_of_its_distance_to_1(beta: float, text: str):
    assert format_beta(beta) == text


def test_numbers_that_json_cannot_represent_become_none():
    nan, inf = float("nan"), float("inf")
    data = {"a": [nan, (inf, -inf)], "b": {"c": 1.5, "d": True, "e": None, "f": "x"}}
    safe = {"a": [None, [None, None]], "b": {"c": 1.5, "d": True, "e": None, "f": "x"}}
    assert json_safe(data) == safe
    assert json.loads(json.dumps(json_safe(data), allow_nan=False)) == safe


def test_digits_and_other_types_are_converted_if_asked_for():
    assert json_safe([0.123456789, 3], digits=3) == [0.123, 3]
    assert json_safe([1, None, "x", 1j], default=repr) == [1, None, "x", "1j"]
