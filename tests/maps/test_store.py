"""The store: what was finished survives kills and full disks; two processes never train a run
twice.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betaplane.errors import BadInput
from betaplane.maps.store import lease as ownership
from betaplane.maps.store import run_table, schema, sqlite
from betaplane.maps.store.lease import Owner
from betaplane.maps.store.run_record import Record, run_key
from betaplane.maps.store.store import Store

KEYS = [f"k{number:03}" for number in range(500)]


def opened(path: Path, fingerprint: str = "1f3a", problem: str = "digits") -> Store:
    return Store.open(path, fingerprint, problem)


def record(key: str, final: float = 0.25, points: int = 200) -> Record:
    curve = (
        np.linspace(2.0, final, points, dtype=np.float32)
        if math.isfinite(final)
        else np.full(points, final)
    )
    return Record(key, {"beta2": 0.999}, 0, 100, 2.0, final, curve, 0.5, "loop")


def same(one: Record, other: Record) -> bool:
    numbers = [(r.initial, r.final, r.seconds) for r in (one, other)]
    names = [(r.key, dict(r.settings), r.seed, r.steps, r.engine) for r in (one, other)]
    return (
        names[0] == names[1]
        and np.array_equal(*numbers, equal_nan=True)
        and np.array_equal(one.curve, other.curve, equal_nan=True)
    )


# Keys


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.floats() | st.integers(-(2**70), 2**70) | st.text(max_size=5),
        max_size=4,
    )
)
def test_a_key_does_not_depend_on_the_order(settings: dict):
    assert run_key(settings, 1, 2) == run_key(dict(reversed(settings.items())), 1, 2)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (16, 16.0, True),
        (0.0, -0.0, True),
        (0.1, np.float64(0.1), True),
        (3, np.int64(3), True),
        (0.1, 0.1 + 1e-16, False),
        (0.1, np.float32(0.1), False),
        (2**53, 2**53 + 1, False),
        (2**53 + 2, 2**53 + 3, False),
        (1, "1", False),
        (1, True, False),
        (math.inf, "Infinity", False),
        ([1, 2], (1.0, 2.0), True),
    ],
)
def test_keys_of_equal_values_are_equal(one, other, alike):
    assert (run_key({"a": one}, 0, 1) == run_key({"a": other}, 0, 1)) is alike


def test_a_key_depends_on_everything_that_was_given():
    keys = [
        run_key({"a": 1}, 0, 1),
        run_key({"b": 1}, 0, 1),
        run_key({"a": 2}, 0, 1),
        run_key({"a": 1}, 1, 1),
        run_key({"a": 1}, 0, 2),
        run_key({"a": 1}, 0, 1, rule="adam"),
        run_key({"a": 1, "rule": "adam"}, 0, 1),
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("settings", "seed", "text"),
    [
        ({"a": object()}, 0, "not numbers and text"),
        ({"a": {1, 2}}, 0, "got {1, 2}"),
        ({}, 2**63, "seed is too large"),
    ],
)
def test_what_cannot_be_a_key_is_refused(settings, seed, text):
    with pytest.raises(BadInput, match=text):
        run_key(settings, seed, 1)


# Round trips


@pytest.mark.parametrize(
    "given",
    [
        record("plain"),
        record("diverged", math.inf),
        record("nowhere", math.nan),
        record("down", -math.inf),
        record("no curve", points=0),
        replace(record("unknown seconds"), seconds=math.nan, initial=math.nan),
        replace(
            record("settings"),
            settings={"lr": 5e-324, "batch_size": 16, "order": "shuffle é", "eps": 0.0},
        ),
        replace(record("seed"), seed=2**63 - 1, engine=""),
        replace(record("strided"), curve=np.arange(10, dtype=np.float32)[::-2]),
        replace(record("big-endian"), curve=np.arange(10, dtype=">f4")),
    ],
    ids=lambda given: given.key,
)
def test_a_record_comes_back_as_it_went(tmp_path: Path, given: Record):
    with opened(tmp_path / "map.sqlite") as store:
        assert store.finish([given]) == 1
    with opened(tmp_path / "map.sqlite") as store:
        (found,) = store.all()
    assert same(found, given)
    assert found.curve.dtype == np.float32
    assert found.curve.flags.writeable
    assert [type(value) for value in found.settings.values()] == [
        type(value) for value in given.settings.values()
    ]


def test_numpy_scalars_are_kept_as_numbers(tmp_path: Path):
    given = Record(
        "k",
        {"lr": np.float64(0.1), "batch_size": np.int64(8)},
        np.int64(1),
        np.int32(2),
        *np.ones(2),
        [1],
    )  # pyright: ignore
    with opened(tmp_path / "map.sqlite") as store:
        store.finish([given])
        found = store.load(["k"])["k"]
    assert dict(found.settings) == {"lr": 0.1, "batch_size": 8}
    assert (found.seed, found.steps, found.final, found.curve.tolist()) == (1, 2, 1.0, [1.0])


def test_a_loss_too_large_for_float32_is_inf(tmp_path: Path):
    with opened(tmp_path / "map.sqlite") as store:
        store.finish([replace(record("k"), curve=np.array([1.0, 1e300]))])
        assert store.load(["k"])["k"].curve.tolist() == [1.0, math.inf]


def test_one_bad_record_keeps_the_others_out_too(tmp_path: Path):
    with opened(tmp_path / "map.sqlite") as store:
        with pytest.raises(BadInput, match=r"The loss curve is not one-dimensional: got \(2, 2\)"):
            store.finish([record("a"), replace(record("b"), curve=np.zeros((2, 2)))])
        assert len(store) == 0


def test_a_write_that_breaks_half_way_is_undone(tmp_path: Path):
    with opened(tmp_path / "map.sqlite") as store:
        with pytest.raises(sqlite3.Error):
            store.finish([record("a"), replace(record("b"), engine=object())])  # pyright: ignore
        assert len(store) == 0
        assert store.finish([record("b")]) == 1


def test_the_first_write_wins(tmp_path: Path):
    with opened(tmp_path / "map.sqlite") as store:
        assert store.finish([record("a", 0.1), record("a", 0.2)]) == 1
        assert store.finish([record("a", 0.3), record("b", 0.4)]) == 1
        assert {key: found.final for key, found in store.load(["a", "b", "c"]).items()} == {
            "a": 0.1,
            "b": 0.4,
        }


def test_thousands_of_keys(tmp_path: Path):
    keys = [run_key({}, seed, 1) for seed in range(6000)]
    with opened(tmp_path / "map.sqlite") as store:
        me = Owner.here()
        assert store.claim(keys, me) == set(keys)
        assert store.finish(record(key, points=1) for key in keys[:5000]) == 5000
        assert store.load(keys).keys() == set(keys[:5000])
        assert [found.key for found in store.all()] == keys[:5000]
        assert store.claim(keys, me) == set(keys[5000:])


def test_all_includes_runs_that_finish_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_table, "RUNS_PER_PAGE", 3)
    with opened(tmp_path / "map.sqlite") as store:
        store.finish(record(key) for key in KEYS[:10])
        seen = []
        for found in store.all():
            seen.append(found.key)
            if len(seen) <= 5:
                store.finish([record(f"new {found.key}")])
        assert seen == [*KEYS[:10], *(f"new {key}" for key in KEYS[:5])]


def test_an_empty_store_is_a_store(tmp_path: Path):
    with opened(tmp_path / "map.sqlite") as store:
        assert store
        assert len(store) == 0
        assert (
            list(store.all()),
            store.load(["k"]),
            store.finish([]),
            store.claim([], Owner.here()),
        ) == (
            [],
            {},
            0,
            set(),
        )


def test_meta_is_a_dict_on_disk(tmp_path: Path):
    with opened(tmp_path / "map.sqlite") as store:
        store.meta["thresholds"] = {"good": 0.05}
        store.meta["seeds"] = 3
        store.meta["seeds"] = 5
        with pytest.raises(TypeError):
            store.meta["bad"] = object()
    with opened(tmp_path / "map.sqlite") as store:
        assert dict(store.meta) == {"seeds": 5, "thresholds": {"good": 0.05}}
        del store.meta["seeds"]
        assert (len(store.meta), store.meta.get("seeds")) == (1, None)
        with pytest.raises(KeyError):
            del store.meta["seeds"]


def test_status_counts_runs_claims_and_owners(tmp_path: Path):
    dead = replace(Owner.here(), pid=ended_pid(), token="dead")
    with opened(tmp_path / "map.sqlite") as store:
        store.finish([record("a"), record("b"), replace(record("c"), seconds=math.nan)])
        store.claim(["c", "d", "e"], Owner.here())
        with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
            db.execute(
                "INSERT INTO owners VALUES (?,?,?,?,?,0)",
                (dead.token, dead.host, dead.realm, dead.pid, 1),
            )
            db.execute("INSERT INTO claims VALUES ('f', 'dead')")
        status = store.status()
    assert (status.problem, status.runs, status.seconds) == ("digits", 3, 1.0)
    assert (status.claimed, status.claimed_alive, status.claimed_dead) == (3, 2, 1)
    assert (status.owners_alive, status.owners_dead) == (1, 1)
    assert status.versions["numpy"] == np.__version__
    assert abs((datetime.now(UTC) - status.created).total_seconds()) < 60


def test_every_commit_reaches_the_disk(tmp_path: Path):
    """A kill does not show whether the machine would have lost it too; SQLite's settings can."""
    with opened(tmp_path / "map.sqlite") as store:
        assert store.rows("PRAGMA synchronous") == [(2,)]  # FULL
        assert store.rows("PRAGMA journal_mode") == [("wal",)]


def test_folders_are_made_and_odd_names_work(tmp_path: Path):
    path = tmp_path / "a folder" / "100% #1?mode=ro" / "é.sqlite"
    with opened(path) as store:
        store.finish([record("a")])
    assert sorted(child.name for child in path.parent.iterdir()) == ["é.sqlite"]


def test_closing_twice_is_fine_and_nothing_is_left_beside_the_store(tmp_path: Path):
    store = opened(tmp_path / "map.sqlite")
    store.finish([record("a")])
    store.close()
    store.close()
    assert [child.name for child in tmp_path.iterdir()] == ["map.sqlite"]


# Files that are no store of this problem


def text_file(path: Path) -> None:
    path.write_text("beta1,beta2,loss\n0.9,0.999,0.1\n" * 500)


def five_bytes(path: Path) -> None:
    path.write_bytes(b"hello")


def zeros(path: Path) -> None:
    path.write_bytes(bytes(8192))


def noise(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(20_000))


def somebody_elses(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE about (fingerprint, problem)")
        db.commit()


def somebody_elses_wal(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA application_id = 17")
        db.execute("CREATE TABLE runs (key)")
        db.commit()


def ours(path: Path) -> None:
    with opened(path) as store:
        store.finish(record(key) for key in KEYS[:50])


def newer(path: Path) -> None:
    ours(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 7")


def without_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        db.execute("CREATE TABLE other (key)")
        db.commit()


def cut_short(path: Path) -> None:
    ours(path)
    os.truncate(path, 5000)


def header_only(path: Path) -> None:
    ours(path)
    os.truncate(path, 100)


def overwritten(path: Path) -> None:
    ours(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))


def of_another_problem(path: Path) -> None:
    with opened(path, "77c0ffee12345", "text") as store:
        store.finish([record("k001")])


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            text_file,
            "The file is not a store: got '{path}'; expected an SQLite file made by betaplane",
        ),
        (five_bytes, "The file is not a store"),
        (zeros, "The file is not a store"),
        (noise, "The file is not a store"),
        (somebody_elses, "The file is another program's SQLite database: got '{path}'"),
        (somebody_elses_wal, "The file is another program's SQLite database"),
        (
            newer,
            "The store was made by a newer betaplane: got 'version 7'; expected versions up to 2 ({path}).",
        ),
        (without_tables, "The store is damaged: its description is missing"),
        (cut_short, "The store is damaged: got 'database disk image is malformed'"),
        (header_only, "The store is damaged"),
        (overwritten, "The store is damaged: got 'database disk image is malformed'"),
        (
            of_another_problem,
            "The store contains another problem: got 'text (77c0ffee)'; expected digits (1f3a) ({path}). "
            'Try: store="other.sqlite"',
        ),
        (folder, "The store is a folder"),
    ],
)
def test_what_is_no_store_of_this_problem_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], None], text: str
):
    path = tmp_path / "map.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(BadInput) as caught:
        opened(path)
    assert str(caught.value).startswith(text.format(path=path))
    assert "Try: " in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert [child.name for child in tmp_path.iterdir()] == ["map.sqlite"]


def test_damage_after_the_first_pages_raises_when_it_is_read(tmp_path: Path):
    path = tmp_path / "map.sqlite"
    ours(path)
    with path.open("r+b") as file:
        file.seek(-5 * 4096, os.SEEK_END)
        file.write(b"\xa5" * 5 * 4096)
    with (
        opened(path) as store,
        pytest.raises(BadInput, match="The store is damaged: got 'database disk image"),
    ):
        list(store.all())


def test_an_empty_file_becomes_a_store(tmp_path: Path):
    (tmp_path / "map.sqlite").touch()
    with opened(tmp_path / "map.sqlite") as store:
        assert store.finish([record("a")]) == 1


def test_a_folder_that_cannot_be_created_raises(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(
        BadInput, match="The store's folder cannot be created: got 'Not a directory'"
    ):
        opened(tmp_path / "file" / "deeper" / "map.sqlite")


def test_a_parent_that_is_a_file_raises(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="The store's folder cannot be created"):
        opened(tmp_path / "file" / "map.sqlite")


# Disks


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here: " + mounted.stderr.decode().strip())
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


def one_by_one(store: Store, kept: list[str]) -> None:
    for key in KEYS:
        store.finish([record(key, points=2000)])
        kept.append(key)


def test_a_full_disk_raises_and_keeps_all_finished_runs(tmp_path: Path):
    with small_disk(tmp_path / "disk", "1m") as disk:
        kept = []
        with (
            opened(disk / "map.sqlite") as store,
            pytest.raises(BadInput, match="The disk is full; all earlier runs"),
        ):
            one_by_one(store, kept)
        assert 10 < len(kept) < 500
        with opened(disk / "map.sqlite") as store:  # still full
            assert [found.key for found in store.all()] == kept
            with pytest.raises(BadInput, match="The disk"):
                store.finish([record("one more", points=2000)])
        with pytest.raises(BadInput, match="The disk"):
            opened(disk / "another.sqlite")
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        with opened(disk / "map.sqlite") as store, opened(disk / "another.sqlite") as another:
            assert [found.key for found in store.all()] == kept
            assert store.finish([record("one more", points=2000)]) == 1
            assert another.merge(store.path) == len(kept) + 1
            assert integrity(store) == "ok"


def test_claims_that_a_full_disk_kept_do_not_hold_up_the_same_process(tmp_path: Path):
    with small_disk(tmp_path / "disk", "1m") as disk:
        with opened(disk / "map.sqlite") as store:
            store.claim(KEYS, Owner.here())
            with pytest.raises(BadInput, match="The disk is full"):
                one_by_one(store, [])
            with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                while True:
                    filler.write(bytes(512))
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        with opened(disk / "map.sqlite") as store:
            left = 500 - len(store)
            assert store.status().claimed_dead == left
            assert len(store.claim(KEYS, Owner.here())) == left


def test_a_read_only_disk_raises_and_can_be_merged_from(tmp_path: Path):
    with small_disk(tmp_path / "disk", "1m") as disk:
        ours(disk / "map.sqlite")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for name, text in [
            ("map.sqlite", "The store cannot be"),
            ("new.sqlite", "The store cannot be opened: got 'unable to open database file'"),
            ("new/new.sqlite", "The store's folder cannot be created: got 'Read-only file system'"),
        ]:
            with pytest.raises(BadInput, match=text):
                opened(disk / name)
        with opened(tmp_path / "other.sqlite") as store:
            assert store.merge(disk / "map.sqlite") == 50


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_read_only_folder_raises(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(BadInput, match="The store cannot be opened"):
        opened(tmp_path / "map.sqlite")
    tmp_path.chmod(0o700)


def test_a_full_database_raises_and_keeps_its_claims(tmp_path: Path):
    """SQLite's own limit gives the answer of a full disk on every machine."""
    me = Owner.here()
    with opened(tmp_path / "map.sqlite") as store:
        store.claim(KEYS, me)
        ((pages,),) = store.rows("PRAGMA page_count")
        store.rows(f"PRAGMA max_page_count = {pages + 10}")
        with pytest.raises(BadInput, match="got 'database or disk is full'"):
            store.finish(record(key) for key in KEYS)
        assert (len(store), store.status().claimed) == (0, 500)
        store.rows("PRAGMA max_page_count = 100000")
        assert store.finish(record(key) for key in KEYS) == 500


# Merging


def test_merge_copies_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_table, "RUNS_PER_PAGE", 3)
    with opened(tmp_path / "a.sqlite") as store, opened(tmp_path / "b.sqlite") as other:
        store.finish([record("k003", 0.1), record("mine")])
        store.claim(["k004"], Owner.here())
        other.finish(record(key, 0.2) for key in KEYS[:10])
        other.claim(["k099"], Owner.here())
        assert store.merge(other.path) == 9
        assert (store.merge(str(other.path)), store.merge(store.path)) == (0, 0)
        assert len(store) == 11
        assert store.load(["k003"])["k003"].final == 0.1
        assert same(store.load(["k005"])["k005"], record("k005", 0.2))
        assert store.status().claimed == 0
        assert other.status().claimed == 1


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda path: None, "There is no store to merge"),
        (text_file, "The file is not a store"),
        (somebody_elses, "The file is another program's"),
        (newer, "The store was made by a newer betaplane"),
        (
            of_another_problem,
            r"The store contains another problem: got 'text \(77c0ffee\)'; expected digits \(1f3a\)",
        ),
        (Path.touch, "There is no store to merge"),
    ],
)
def test_merge_refuses_what_is_no_store_of_this_problem(
    tmp_path: Path, make: Callable[[Path], None], text: str
):
    make(tmp_path / "b.sqlite")
    before = sorted(tmp_path.iterdir())
    with opened(tmp_path / "a.sqlite") as store:
        with pytest.raises(BadInput, match=text):
            store.merge(tmp_path / "b.sqlite")
        assert len(store) == 0
    assert sorted(tmp_path.iterdir()) == [tmp_path / "a.sqlite", *before]


# Owners and claims


def ended_pid() -> int:
    return int(subprocess.run(["sh", "-c", "echo $$"], capture_output=True, check=True).stdout)


def test_owners_of_this_machine_are_looked_up():
    me = Owner.here()
    now = time.time()
    assert me.alive(beat=0)
    assert not replace(me, pid=ended_pid()).alive(beat=now)
    if me.started is None:
        pytest.skip("no /proc to read start times from")
    assert not replace(me, started=me.started - 1).alive(beat=now)
    assert replace(me, started=None).alive(beat=now)
    assert not replace(me, started=None).alive(beat=now - 121)


def test_a_zombie_process_is_dead():
    child = subprocess.Popen(["sleep", "60"])
    owner = replace(Owner.here(), pid=child.pid, started=ownership._start_ticks(child.pid))
    assert owner.alive(beat=0)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, still in the table
    assert not owner.alive(beat=0)
    child.wait()


@pytest.mark.parametrize("elsewhere", [{"host": "another"}, {"realm": "another boot or container"}])
def test_owners_elsewhere_live_as_long_as_they_beat(elsewhere: dict):
    owner = replace(Owner.here(), pid=ended_pid(), **elsewhere)
    assert owner.alive(beat=time.time() - 100)
    assert not owner.alive(beat=time.time() - 121)
    assert owner.alive(beat=time.time() - 121, lease=200)


def test_claims_exclude_each_other(tmp_path: Path):
    one, two = Owner.here(), Owner.here()
    with opened(tmp_path / "map.sqlite") as store, opened(tmp_path / "map.sqlite") as other:
        store.finish([record("done")])
        assert store.claim(["done", "a", "b"], one) == {"a", "b"}
        assert other.claim(["done", "b", "c"], two) == {"c"}
        assert store.claim(["a", "b", "c"], one) == {"a", "b"}  # again
        assert other.claimed_elsewhere(["done", "a", "b", "c", "d"], two) == {"a", "b"}
        store.finish([record("a")])
        assert other.claimed_elsewhere(["a", "b"], two) == {"b"}
        store.release(one)
        assert other.claim(["a", "b"], two) == {"b"}
        assert store.claim(["b"], one) == set()
    with opened(tmp_path / "map.sqlite") as store:  # closing released both
        assert (store.status().claimed, store.status().owners_alive) == (0, 0)


def test_a_beat_holds_claims_from_elsewhere_and_silence_loses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    me, far = Owner.here(), replace(Owner.here(), host="another", token="far")
    began, clock = time.time(), time.time
    with opened(tmp_path / "map.sqlite") as store:
        assert store.claim(["a"], far) == {"a"}
        monkeypatch.setattr(time, "time", lambda: clock() + 100)
        store.beat(far)
        monkeypatch.setattr(time, "time", lambda: clock() + 200)
        assert store.claim(["a"], me) == set()
        assert store.claimed_elsewhere(["a"], me) == {"a"}
        monkeypatch.setattr(time, "time", lambda: clock() + 230)
        assert store.claimed_elsewhere(["a"], me) == set()
        assert store.status().claimed_dead == 1
        assert store.claim(["a"], me) == {"a"}
        assert clock() - began < 10


# Several at once


def test_a_thread_may_beat_while_another_finishes(tmp_path: Path):
    me, failures = Owner.here(), []

    def beats() -> None:
        try:
            for _ in range(50):
                store.beat(me)
        except Exception as error:
            failures.append(error)

    with opened(tmp_path / "map.sqlite") as store:
        threads = [threading.Thread(target=beats) for _ in range(2)]
        for thread in threads:
            thread.start()
        for key in KEYS[:100]:
            store.finish([record(key)])
        for thread in threads:
            thread.join()
        assert (failures, len(store)) == ([], 100)


def test_a_lock_is_waited_for_and_raises_if_it_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "map.sqlite"
    with (
        opened(path) as store,
        closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as db,
    ):
        db.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(1.5, db.execute, ["ROLLBACK"])
        timer.start()
        assert store.finish([record("a")]) == 1
        timer.join()
        db.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(sqlite, "LOCK_TIMEOUT_SECONDS", 0.1)
        with pytest.raises(
            BadInput, match=r"Another process kept the store locked.*got 'database is locked'"
        ):
            store.finish([record("b")])
        assert len(store) == 1  # readers continue
        db.execute("ROLLBACK")
        assert store.finish([record("b")]) == 1


CHILD = """
import sys, time, types
for name in ("betaplane", "betaplane.maps"):  # the store alone, not the packages around it: no 3 s for torch
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [sys.argv.pop(1)]
import numpy as np
from betaplane.maps.store.lease import Owner
from betaplane.maps.store.run_record import Record
from betaplane.maps.store.store import Store

def report(*words, sep=" "):
    print(*words, sep=sep, flush=True)

def record(key):
    return Record(key, {"beta2": 0.999}, 0, 100, 2.0, 0.25, np.zeros(200, np.float32), 0.5, "child")
"""

FINISHES = """
with Store.open(sys.argv[1], "1f3a", "digits") as store:
    for number in range(1_000_000):
        keys = [f"{sys.argv[2]} {number} {part}" for part in range(number % 3 + 1)]
        store.finish(map(record, keys))
        report(*keys, sep="\\n")
"""

CREATES = """
for number in range(1_000_000):
    path = f"{sys.argv[1]}/{number}.sqlite"
    report(path)
    Store.open(path, "1f3a", "digits").close()
"""

WORKS = """
path, stall = sys.argv[1], int(sys.argv[2])
keys, me, count = [f"k{number:03}" for number in range(500)], Owner.here(), 0
with Store.open(path, "1f3a", "digits") as store:
    report("open")
    sys.stdin.readline()
    while todo := set(keys) - store.load(keys).keys():
        free = sorted(todo - store.claimed_elsewhere(todo, me))
        granted = store.claim(free[:7], me)
        time.sleep(0 if granted else 0.005)
        for key in granted:
            report("computed", key)
            count += 1
            if count == stall:
                report("stalled")
                time.sleep(600)
        store.finish(map(record, granted))
        for key in granted:
            report("finished", key)
"""


@contextmanager
def child(script: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    maps = Path(run_table.__file__).parents[1]
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        CHILD + script,
        *map(str, (maps.parent, maps, *words)),
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def killed(process: subprocess.Popen[str], moment: float) -> list[str]:
    """The whole lines that the process wrote until it was killed, `moment` seconds after the first."""
    assert process.stdout
    first = process.stdout.readline()
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    written = first + process.stdout.read()
    return written[: written.rfind("\n")].split("\n")


def integrity(store: Store) -> str:
    ((answer,),) = store.rows("PRAGMA integrity_check")
    return answer


def test_what_finish_returned_for_survives_kill_9(tmp_path: Path):
    moments = random.Random(0)
    reported: list[str] = []
    for turn in range(20):
        with child(FINISHES, tmp_path / "map.sqlite", turn) as process:
            reported += killed(process, moments.uniform(0, 0.15))
        with opened(tmp_path / "map.sqlite") as store:
            assert store.load(reported).keys() == set(reported)
            assert integrity(store) == "ok"
    assert len(reported) > 200


def test_a_store_killed_while_it_is_created_opens(tmp_path: Path):
    moments = random.Random(1)
    for turn in range(3):
        (tmp_path / str(turn)).mkdir()
        with child(CREATES, tmp_path / str(turn)) as process:
            paths = killed(process, moments.uniform(0, 0.1))
        with opened(Path(paths[-1])) as store:
            assert store.finish([record("a")]) == 1
            assert integrity(store) == "ok"


def lines_of(process: subprocess.Popen[str], word: str) -> list[str]:
    assert process.stdout
    return [line.split()[1] for line in process.stdout if line.startswith(word)]


def started(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "open\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()


def test_two_processes_compute_every_run_once(tmp_path: Path):
    path = tmp_path / "map.sqlite"
    with child(WORKS, path, 0) as one, child(WORKS, path, 0) as two:
        started(one, two)
        computed = [lines_of(one, "computed"), lines_of(two, "computed")]
        assert (one.wait(), two.wait()) == (0, 0)
    assert sorted(computed[0] + computed[1]) == KEYS
    assert min(map(len, computed)) > 0
    with opened(path) as store:
        assert (len(store), store.status().claimed) == (500, 0)


def test_the_claims_of_a_killed_process_are_taken_over(tmp_path: Path):
    path = tmp_path / "map.sqlite"
    with child(WORKS, path, 60) as victim, child(WORKS, path, 0) as survivor, opened(path) as store:
        started(victim, survivor)
        assert victim.stdout
        reported = [line.split() for line in iter(victim.stdout.readline, "stalled\n")]
        finished = {key for word, key in reported if word == "finished"}
        under_way = {key for word, key in reported if word == "computed"} - finished
        held = (
            store.claimed_elsewhere(KEYS, Owner.here())
            if wait_for(lambda: len(store) >= 493)
            else set()
        )
        assert under_way <= held
        assert survivor.poll() is None  # it waits: the victim lives
        victim.kill()  # and is not collected yet: a zombie
        computed = lines_of(survivor, "computed")
        assert survivor.wait() == 0
    assert set(computed) == set(KEYS) - finished
    assert len(computed) == len(set(computed))
    assert under_way < set(computed)
    with opened(path) as store:
        assert (len(store), store.status().claimed, integrity(store)) == (500, 0, "ok")


def wait_for(happened: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.01)
    return happened()


def test_two_busy_writers_never_get_a_lock_error(tmp_path: Path):
    path = tmp_path / "map.sqlite"
    with child(FINISHES, path, "one") as one, child(FINISHES, path, "two") as two:
        assert one.stdout
        assert one.stdout.readline()
        reported = killed(two, 0.7)
        assert one.poll() is None
        reported += killed(one, 0)
    with opened(path) as store:
        assert store.load(reported).keys() == set(reported)


def test_a_copy_of_a_killed_store_is_whole(tmp_path: Path):
    """File, WAL and all, moved elsewhere: nothing in it is bound to its place."""
    with child(FINISHES, tmp_path / "map.sqlite", 0) as process:
        reported = killed(process, 0.1)
    for path in tmp_path.glob("map.sqlite*"):
        shutil.copy(path, path.with_name(path.name.replace("map", "moved")))
    with opened(tmp_path / "other.sqlite") as store:
        store.merge(tmp_path / "moved.sqlite")
        assert store.load(reported).keys() == set(reported)


def test_store_without_runs_becomes_the_store_of_another_problem(tmp_path: Path):
    path = tmp_path / "a.sqlite"
    with opened(path, "77c0ffee", "text") as store:
        store.meta["speeds"] = {"plain": 100.0}
    with opened(path) as store:
        assert (store.problem, "speeds" in store.meta) == ("digits", False)
        store.finish([record("k001")])
    with pytest.raises(BadInput, match="The store contains another problem: got 'digits"):
        opened(path, "77c0ffee", "text")


def test_store_for_which_a_process_trains_stays_its_problems(tmp_path: Path):
    path = tmp_path / "a.sqlite"
    with opened(path, "77c0ffee", "text") as store:
        store.claim(["k001"], Owner.here())
        with pytest.raises(BadInput, match="The store contains another problem: got 'text"):
            opened(path)
