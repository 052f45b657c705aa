"""Damaged copies of a store: what disks, programs and people do to files, in 220 ways."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

PAGE = 4096  # bytes
Act = Callable[[Path, random.Random], None]


@dataclass(frozen=True)
class Damage:
    """One way to damage a store in place."""

    name: str
    act: Act

    def apply(self, path: Path) -> None:
        self.act(path, random.Random(self.name))


def damages() -> list[Damage]:
    """220 of them, always the same."""
    every = [
        Damage(f"{name} {number}", act) for name, act, count in BYTES for number in range(count)
    ]
    every += [Damage(statement, _sql(statement)) for statement in _statements()]
    every += [Damage(act.__name__, act) for act in FILES]
    return every


# Bytes


def flipped(path: Path, luck: random.Random) -> None:
    _overwrite(
        path,
        luck.randrange(path.stat().st_size),
        lambda old: bytes([old[0] ^ 1 << luck.randrange(8)]),
    )


def flipped_at_the_front(path: Path, luck: random.Random) -> None:
    _overwrite(path, luck.randrange(100), lambda old: bytes([old[0] ^ 1 << luck.randrange(8)]))


def many_flipped(path: Path, luck: random.Random) -> None:
    for _ in range(20):
        flipped(path, luck)


def page_of_zeros(path: Path, luck: random.Random) -> None:
    _overwrite(path, PAGE * luck.randrange(_pages(path)), lambda _: bytes(PAGE))


def page_of_noise(path: Path, luck: random.Random) -> None:
    _overwrite(path, PAGE * luck.randrange(_pages(path)), lambda _: luck.randbytes(PAGE))


def swapped_pages(path: Path, luck: random.Random) -> None:
    one, other = (PAGE * number for number in luck.sample(range(_pages(path)), 2))
    data = path.read_bytes()
    _overwrite(path, one, lambda _: data[other : other + PAGE])
    _overwrite(path, other, lambda _: data[one : one + PAGE])


def cut_short(path: Path, luck: random.Random) -> None:
    os.truncate(path, luck.randrange(path.stat().st_size))


def cut_between_pages(path: Path, luck: random.Random) -> None:
    os.truncate(path, PAGE * luck.randrange(1, _pages(path)))


def flipped_text(path: Path, luck: random.Random) -> None:
    """A digit of a setting, or of a number kept as text."""
    data = path.read_bytes()
    places = [place for place in range(len(data) - 8) if data[place : place + 8] == b'"beta2":']
    _overwrite(path, luck.choice(places) + 11, lambda _: b"%d" % luck.randrange(10))


BYTES: list[tuple[str, Act, int]] = [
    ("one bit", flipped, 40),
    ("one bit of the header", flipped_at_the_front, 12),
    ("twenty bits", many_flipped, 10),
    ("a page of zeros", page_of_zeros, 11),
    ("a page of noise", page_of_noise, 10),
    ("two pages swapped", swapped_pages, 7),
    ("cut short", cut_short, 8),
    ("cut between pages", cut_between_pages, 6),
    ("a digit", flipped_text, 7),
]


def _pages(path: Path) -> int:
    return path.stat().st_size // PAGE


def _overwrite(path: Path, place: int, new: Callable[[bytes], bytes]) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        old = file.read(1)
        file.seek(place)
        file.write(new(old))


# Rows

ODD = {
    "settings": ["''", "'{'", "'[]'", "'{\"beta2\": 0.5}'", "x'ff'", "CAST(x'ff41' AS TEXT)", "7"],
    "seed": ["'one'", "1.5", "x'00'", "9223372036854775807", "1"],
    "steps": ["'one'", "-1", "x''", "1e300"],
    "initial": ["NULL", "'x'", "x'01'", "9e999", "2"],
    "final": ["NULL", "'x'", "x'01'", "-9e999", "0", "0.25000000000000006"],
    "curve": [
        "x''",
        "x'00'",
        "'text'",
        "5",
        "zeroblob(40000000)",
        "zeroblob(150000000)",
        "x'0000c07f'",
    ],
    "seconds": ["NULL", "'x'", "1e-300"],
    "engine": ["''", "7", "x'ff'", "CAST(x'ff' AS TEXT)"],
    "digest": ["NULL", "''", "7", "'00000000000000000000000000000000'"],
    "key": ["'nothing'", "CAST(x'ff' AS TEXT)", "x'00'", "7"],
}
STATEMENTS = [
    "UPDATE runs SET curve = (SELECT curve FROM runs WHERE id = 3) WHERE id = 5",
    "UPDATE runs SET final = (SELECT final FROM runs WHERE id = 3) WHERE id = 5",
    "UPDATE runs SET key = key || '!' WHERE id < 4; UPDATE runs SET key = 'k' || printf('%03d', 3 - id) WHERE id < 4",
    "UPDATE runs SET final = final + 0.001",
    "UPDATE runs SET digest = (SELECT digest FROM runs WHERE id = 3)",
    "UPDATE runs SET curve = zeroblob(800)",
    "DELETE FROM runs WHERE id % 2",
    "DELETE FROM runs",
    "UPDATE meta SET value = '{'",
    "UPDATE meta SET value = '[1e999]'",
    "UPDATE meta SET value = '\"other\"'",
    "UPDATE meta SET digest = NULL",
    "UPDATE meta SET value = replace(hex(zeroblob(50000)), '00', '[')",
    "UPDATE about SET fingerprint = 'other'",
    "UPDATE about SET fingerprint = x'00'",
    "UPDATE about SET fingerprint = 7",
    "UPDATE about SET problem = x'ff'",
    "UPDATE about SET problem = 'other'",
    "UPDATE about SET created = 'yesterday'",
    "UPDATE about SET created = 1e300",
    "UPDATE about SET versions = '{'",
    "UPDATE about SET versions = '7'",
    "DELETE FROM about",
    "INSERT INTO claims SELECT key || 'x', 'no process' FROM runs",
    "INSERT INTO claims VALUES (x'00', x'00'), ('k400', 'no process'), (7, 7)",
    "INSERT INTO owners VALUES ('a', 'b', 'c', 'd', 'e', 'f'); INSERT INTO claims VALUES ('k400', 'a')",
    "INSERT INTO owners VALUES ('a', 'b', 'c', 1, NULL, 0); INSERT INTO claims VALUES ('k400', 'a')",
    "INSERT INTO owners VALUES (7, x'ff', x'ff', 10000000000000, 1e300, 5); INSERT INTO claims VALUES ('k400', 7)",
    "PRAGMA user_version = 0",
    "PRAGMA user_version = 1",
    "PRAGMA user_version = 3",
    "PRAGMA user_version = -1",
    "PRAGMA application_id = 1",
    "DROP TABLE about",
    "DROP TABLE meta",
    "DROP TABLE claims",
    "DROP TABLE owners",
    "DROP TABLE runs",
    "DROP TABLE unfinished",
    "ALTER TABLE runs DROP COLUMN seconds",
    "ALTER TABLE runs DROP COLUMN digest",
    "ALTER TABLE runs RENAME COLUMN final TO last",
    "ALTER TABLE runs RENAME TO gone; CREATE VIEW runs AS SELECT * FROM gone",
    "CREATE TRIGGER busy AFTER INSERT ON runs BEGIN UPDATE runs SET final = 0; END",
    "CREATE TABLE more (a)",
    "PRAGMA encoding = 'UTF-16'; VACUUM",
    "PRAGMA journal_mode = WAL; UPDATE runs SET final = 7 WHERE id = 2",
    "INSERT INTO runs SELECT id + 1000, key || '!', settings, seed, steps, initial, final, curve, seconds, engine, "
    "digest FROM runs",
]  # fmt: skip


def _statements() -> Iterator[str]:
    for column, values in ODD.items():
        for number, value in enumerate(values):
            yield f"UPDATE runs SET {column} = {value} WHERE id = {7 + number}"
    yield from STATEMENTS


def _sql(statements: str) -> Act:
    def act(path: Path, luck: random.Random) -> None:
        del luck
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = DELETE")
            for statement in (
                statements.split("; ") if "TRIGGER" not in statements else [statements]
            ):
                db.execute(statement)

    return act


# Files


def empty(path: Path, luck: random.Random) -> None:
    path.write_bytes(b"")


def text(path: Path, luck: random.Random) -> None:
    path.write_text("beta1,beta2,loss\n" * 500)


def noise(path: Path, luck: random.Random) -> None:
    path.write_bytes(luck.randbytes(20_000))


def zeros(path: Path, luck: random.Random) -> None:
    path.write_bytes(bytes(8192))


def folder(path: Path, luck: random.Random) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path, luck: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def link_to_itself(path: Path, luck: random.Random) -> None:
    path.unlink()
    path.symlink_to(path)


def more_at_the_end(path: Path, luck: random.Random) -> None:
    with path.open("ab") as file:
        file.write(luck.randbytes(3 * PAGE + 17))


def noise_for_a_wal(path: Path, luck: random.Random) -> None:
    path.with_name(path.name + "-wal").write_bytes(luck.randbytes(40_000))


def noise_for_a_journal(path: Path, luck: random.Random) -> None:
    path.with_name(path.name + "-journal").write_bytes(luck.randbytes(40_000))


def noise_for_shared_memory(path: Path, luck: random.Random) -> None:
    path.with_name(path.name + "-shm").write_bytes(luck.randbytes(32_768))


def two_in_one(path: Path, luck: random.Random) -> None:
    path.write_bytes(path.read_bytes() * 2)


FILES: list[Act] = [
    empty, text, noise, zeros, folder, pipe, link_to_itself, more_at_the_end, noise_for_a_wal, noise_for_a_journal,
    noise_for_shared_memory, two_in_one,
]  # fmt: skip
