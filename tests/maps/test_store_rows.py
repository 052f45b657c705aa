"""Rows of a store: each value's type, one at a time."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from betaplane.errors import BadInput
from betaplane.maps.store.digest import is_intact, with_digest
from betaplane.maps.store.run_claims import _is_valid
from betaplane.maps.store.run_record import Record, is_valid_row, record_of, row_of, run_key
from betaplane.maps.store.run_table import pages
from betaplane.maps.store.salvage import readable_ids
from betaplane.maps.store.store import Store

ROW = ("k", '{"lr": 0.1}', 0, 10, 1.0, 0.5, b"\0" * 8, 0.1, "plain")
NAMES = ("key", "settings", "seed", "steps", "initial", "final", "curve", "seconds", "engine")
ALLOWED = [
    {"initial": None},
    {"final": None, "seconds": None},
    {"curve": b""},
    {"engine": ""},
    {"settings": "{}"},
]
DAMAGED = [
    {"key": 1},
    {"key": None},
    {"settings": "[1]"},
    {"settings": "{"},
    {"settings": b"{}"},
    {"settings": "[" * 100_000},
    {"seed": 0.0},
    {"steps": None},
    {"initial": 1},
    {"final": "0.5"},
    {"seconds": b"1"},
    {"curve": b"\0" * 7},
    {"curve": "0000"},
    {"engine": None},
]


def changed(changes: dict) -> tuple:
    return tuple({**dict(zip(NAMES, ROW, strict=True)), **changes}.values())


@pytest.mark.parametrize("changes", [{}, *ALLOWED], ids=str)
def test_a_row_without_a_digest_is_valid_by_its_types(changes: dict) -> None:
    assert is_valid_row(changed(changes))


@pytest.mark.parametrize("changes", DAMAGED, ids=lambda changes: str(changes)[:40])
def test_a_row_with_one_wrong_type_is_damaged(changes: dict) -> None:
    assert not is_valid_row(changed(changes))


@pytest.mark.parametrize(
    ("pid", "started", "beat", "valid"),
    [
        (5, None, 1.0, True),  # a system that does not say when a process started
        (5, 7, 1.0, True),
        (5, "7", 1.0, False),
        (5, 7.5, 1.0, False),
        ("5", 7, 1.0, False),
        (5, 7, 1, False),
        (5, 7, None, False),
    ],
)
def test_an_owners_row_has_a_process_and_a_beat(pid, started, beat, valid: bool) -> None:
    assert _is_valid(("token", "host", "realm", pid, started, beat)) == valid


def test_a_record_is_read_as_it_was_written() -> None:
    given = Record(
        "k", {"lr": np.float64(0.1), "rule": "Adam"}, 3, 10, 1.5, math.nan, np.array([1.0, 1e300])
    )
    row = row_of(given)
    found = record_of(tuple(None if value != value else value for value in row))  # as in SQLite
    assert (found.key, found.settings, found.seed, found.steps) == ("k", given.settings, 3, 10)
    assert (found.initial, found.engine) == (1.5, "")
    assert math.isnan(found.final)
    assert math.isnan(found.seconds)
    assert found.curve.tolist() == [1.0, math.inf]
    assert found.curve.dtype == np.float32
    assert record_of((*row[:2], 4, *row[3:])) is None  # another seed than the digest's


def test_a_curve_has_one_dimension() -> None:
    for shape in ((), (1, 2)):
        with pytest.raises(BadInput, match="loss curve is not one-dimensional"):
            row_of(Record("k", {}, 0, 1, 1.0, 1.0, np.zeros(shape)))


def test_seeds_fit_in_64_bits() -> None:
    for seed in (-(2**63), 2**63 - 1):
        assert len(run_key({}, seed, 1)) == 32
    for seed in (-(2**63) - 1, 2**63):
        with pytest.raises(BadInput, match="seed is too large"):
            run_key({}, seed, 1)


def test_whole_numbers_are_floats_up_to_2_to_the_53_in_a_key() -> None:
    assert run_key({"a": -(2**53)}, 0, 1) == run_key({"a": -(2.0**53)}, 0, 1)
    assert run_key({"a": 2**53 + 1}, 0, 1) != run_key({"a": 2.0**53}, 0, 1)
    assert run_key({"a": 2**54}, 0, 1) != run_key({"a": 2.0**54}, 0, 1)  # kept as it is
    assert run_key({"a": {"b": [1, None]}}, 0, 1) == run_key({"a": {"b": (1.0, None)}}, 0, 1)


def record(key: str, points: int = 2) -> Record:
    return Record(key, {"lr": 0.1}, 0, 10, 1.0, 0.5, np.ones(points))


def test_a_value_too_large_to_read_damages_its_own_row_only(tmp_path: Path) -> None:
    keys = ["small", "large", "last"]
    with Store.open(tmp_path / "map.sqlite", "1f3a", "digits") as store:
        store.finish([record(key, points=10_000 if key == "large" else 2) for key in keys])
        store._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 20_000)
        assert [found.key for found in store.all()] == ["small", "last"]
        assert store.damaged == 1
        assert [found.key for found in store.readable([1, 2, 3])] == ["small", "last"]
        assert store.damaged == 2
        assert store.load(keys).keys() == {"small", "last"}
        assert (store.damaged, len(store)) == (3, 2)


def test_finishing_returns_the_number_of_new_runs(tmp_path: Path) -> None:
    with Store.open(tmp_path / "map.sqlite", "1f3a", "digits") as store:
        assert store.finish([record("a"), record("b")]) == 2
        assert store.finish([record("b"), record("c")]) == 1
        assert store.finish([record("a")]) == store.finish([]) == 0
        assert readable_ids(store._db) == [1, 2, 3]


def test_pages_hold_every_value_once_and_in_order() -> None:
    for number in (0, 1, 999, 1000, 1001, 2500):
        split = list(pages(range(number)))
        assert [value for page in split for value in page] == list(range(number))
        assert all(0 < len(page) <= 1000 for page in split)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (("a", 1), ("a", 1), True),
        (("a", 1), ("a", 1.0), False),
        (("a", 1), ("a", "1"), False),
        ((b"ab", b"c"), (b"a", b"bc"), False),
        ((b"1",), ("1",), False),
        ((math.nan,), (None,), True),
        ((0.0,), (-0.0,), True),
        ((0.0,), (None,), False),
        (("\udc80",), ("\udc81",), False),
    ],
)
def test_a_digest_depends_on_values_and_their_types(one, other, alike: bool) -> None:
    assert (with_digest(one) == (*one, with_digest(other)[-1])) == alike
    assert is_intact(with_digest(one))
    assert not is_intact((*one, "0" * 32))
