"""Control characters never reach a terminal as they are."""

from __future__ import annotations

import pickle

import pytest

from betaplane.errors import BadInput
from betaplane.text import printable

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
