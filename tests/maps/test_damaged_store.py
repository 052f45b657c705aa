"""A damaged store is refused with a sentence, or what it returns is what was stored; the rest is
trained again.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from damage import Damage, damages

from betaplane.errors import BadInput
from betaplane.maps.store.lease import Owner
from betaplane.maps.store.run_record import Record, row_of
from betaplane.maps.store.store import Store

KEYS = [f"k{number:03}" for number in range(60)]
SPEEDS = {"stacked": 3.5, "plain": 2.0, "note": ""}
ALL = damages()
SECONDS, MEGABYTES = 2.0, 500.0  # for one damaged store


def record(key: str) -> Record:
    curve = np.linspace(2.0, 0.25 + int(key[1:]) / 8, 200, dtype=np.float32)
    settings = {"beta1": 0.9, "beta2": 0.999, "batch_size": 16, "rule": "Adam"}
    return Record(key, settings, int(key[1:]), 100, 2.0, float(curve[-1]), curve, 0.5, "stacked")


TRUE = {key: record(key) for key in KEYS}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "map.sqlite"
    with opened(path) as store:
        store.finish(TRUE.values())
        store.meta["speeds"] = SPEEDS
    return path


def opened(path: Path) -> Store:
    return Store.open(path, "1f3a", "digits")


def contents(one: Record) -> tuple:
    return (
        one.key, dict(one.settings), one.seed, one.steps, one.initial, one.final, one.curve.tobytes(), one.seconds,
        one.engine,
    )  # fmt: skip


def check(records: Iterator[Record] | list[Record]) -> set[str]:
    """That every record is the one that was stored under its key."""
    keys = set()
    for one in records:
        assert one.key not in keys, "two runs of one key"
        assert contents(one) == contents(TRUE[one.key]), "silently another value"
        keys.add(one.key)
    return keys


def resumed(path: Path) -> None:
    """Use a store as a map does: every run is the one that was stored, or is trained again."""
    with opened(path) as store:
        known = check(list(store.load(KEYS).values()))
        assert store.meta.get("speeds") in (None, SPEEDS)
        me = Owner.here()
        missing = [key for key in KEYS if key not in known]
        assert store.claim(missing, me) == set(missing), "a run without a worker waits for one"
        assert store.finish(TRUE[key] for key in missing) == len(missing)
        store.status()
        assert check(store.load(KEYS).values()) == set(KEYS)
    with opened(path) as store:
        assert check(store.all()) == set(KEYS)


SENTENCE = r"(The|There is no) .*\. Try: .*(sqlite.|undamaged runs|upgrade betaplane|digits|ls .*)"


def sentence(act: Callable[[], None]) -> str:
    """What the act is refused with; nothing if it is not."""
    try:
        act()
    except BadInput as error:
        return str(error)
    return ""


def salvaged(path: Path, fresh: Path) -> None:
    with opened(fresh) as store:
        store.merge(path)
        check(store.all())


def read(path: Path) -> None:
    with Store.reopen(path) as store:
        check(store.all())


def peak() -> float:
    """The largest memory this process ever had, in MB."""
    resource = pytest.importorskip("resource")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024 if sys.platform == "linux" else 2**20
    )


@pytest.mark.parametrize(
    "damage",
    [pytest.param(one, marks=() if i % 7 == 0 else pytest.mark.slow) for i, one in enumerate(ALL)],
    ids=lambda damage: damage.name,
)
def test_no_damage_is_silent_or_ends_in_a_traceback(tmp_path: Path, sound: Path, damage: Damage):
    path = tmp_path / "map.sqlite"
    for act in (resumed, read, lambda path: salvaged(path, tmp_path / "fresh.sqlite")):
        for old in tmp_path.glob("map.sqlite*"):
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        shutil.copy(sound, path)
        damage.apply(path)
        before, began = peak(), time.monotonic()
        said = sentence(lambda act=act: act(path))
        assert not said or re.fullmatch(SENTENCE, said)
        assert peak() - before < MEGABYTES
        assert time.monotonic() - began < 30 * SECONDS, "it hangs"
        print(f"{damage.name}: {time.monotonic() - began:.2f} s, {said or 'used'}")


def test_there_are_220():
    assert len({damage.name for damage in ALL}) == 220


# Stores of betaplane 0.1

FIRST_TABLES = """
CREATE TABLE about (fingerprint TEXT NOT NULL, problem TEXT NOT NULL, created REAL NOT NULL, versions TEXT NOT NULL);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, settings TEXT NOT NULL, seed INTEGER NOT NULL,
    steps INTEGER NOT NULL, initial REAL, final REAL, curve BLOB NOT NULL, seconds REAL, engine TEXT NOT NULL
);
CREATE TABLE owners (
    token TEXT PRIMARY KEY, host TEXT NOT NULL, realm TEXT NOT NULL, pid INTEGER NOT NULL, started INTEGER,
    beat REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX claims_of ON claims (owner);
INSERT INTO about VALUES ('0ld', 'digits', 1.7e9, '{"betaplane": "0.1.0"}');
INSERT INTO meta VALUES ('speeds', '{"stacked": 1.0}');
PRAGMA user_version = 1;
PRAGMA application_id = 1649437806;
"""


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A store as betaplane 0.1 wrote it, in WAL mode."""
    path = tmp_path / "first.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(FIRST_TABLES)
        db.execute("PRAGMA journal_mode = WAL")
        db.executemany(
            "INSERT INTO runs VALUES (NULL,?,?,?,?,?,?,?,?,?)",
            [row_of(one)[:-1] for one in TRUE.values()],
        )
    return path


def test_a_store_of_the_first_version_is_read_and_gets_digests(first: Path):
    with Store.open(first, "new", "digits", former=lambda: "0ld") as store:
        assert check(store.load(KEYS).values()) == set(KEYS)
        assert (store.damaged, "speeds" in store.meta) == (0, False)
    with Store.open(first, "new", "digits") as store:
        assert check(store.all()) == set(KEYS)
    with closing(sqlite3.connect(first, isolation_level=None)) as db:
        db.execute("UPDATE runs SET final = 0 WHERE id = 5")
    with Store.open(first, "new", "digits") as store:
        assert store.load(KEYS).keys() == set(KEYS) - {KEYS[4]}
        assert store.damaged == 1


def test_a_store_of_the_first_version_can_be_read_and_merged_as_it_is(first: Path, tmp_path: Path):
    before = first.read_bytes()
    with Store.reopen(first) as store:
        assert check(store.all()) == set(KEYS)
    with Store.open(tmp_path / "second.sqlite", "new", "digits", former=lambda: "0ld") as store:
        assert store.merge(first) == len(KEYS)
        assert check(store.all()) == set(KEYS)
    assert first.read_bytes() == before


def test_unreadable_rows_of_the_first_version_are_dropped(first: Path):
    with closing(sqlite3.connect(first, isolation_level=None)) as db:
        for column, value in (("settings", "{"), ("curve", b"123"), ("final", "high")):
            db.execute(f"UPDATE runs SET {column} = ? WHERE id = ?", (value, len(column)))
    with Store.open(first, "new", "digits", former=lambda: "0ld") as store:
        assert store.damaged == 2  # two of the names have five letters
        assert len(check(store.all())) == len(KEYS) - 2


def test_another_problems_store_of_the_first_version_is_left_alone(first: Path):
    before = first.read_bytes()
    with pytest.raises(BadInput, match="The store contains another problem"):
        Store.open(first, "0ld", "digits", former=lambda: "other")
    assert first.read_bytes() == before


def test_what_is_damaged_is_counted_and_trained_again_and_the_rest_is_used(
    sound: Path, tmp_path: Path
):
    path = shutil.copy(sound, tmp_path / "map.sqlite")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE runs SET final = 0.1, initial = 3 WHERE id IN (2, 3)")
    with opened(path) as store:
        assert store.load(KEYS).keys() == set(KEYS) - set(KEYS[1:3])
        assert (store.damaged, len(store)) == (2, len(KEYS) - 2)
