"""A map that is killed again and again ends as if nothing had happened, and leaves no process behind."""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from killable import TRAINER, Job, Life, shown, wait_until

from betaplane.maps import map_phases

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")

PLAIN, STACKED, TRAIN = "plain", "stacked", "a function of the user's"
HOW = {
    PLAIN: {"points": 8, "steps": 10, "engine": "plain", "dense": True},
    STACKED: {"steps": 60, "engine": "stacked"},
    TRAIN: {},
}
SLOW = pytest.mark.slow


def made(folder: Path, kind: str, workers: int) -> Job:
    (folder / "trainer.py").write_text(TRAINER)
    source = f"{folder}/trainer.py:train" if kind == TRAIN else "counterexample:n=5"
    return Job(source, folder, workers, how=HOW[kind])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict]:
    """What an undisturbed map says, by kind; trained in this process."""

    @cache
    def of(kind: str) -> dict:
        job = made(tmp_path_factory.mktemp("quiet"), kind, 0)
        return shown(map_phases(job.source, **{"points": 12, "seeds": 2, "workers": 0, **job.how}))

    return of


class Watch:
    """Looks at store and log between the lives of a job: what was finished stays, and is not
    trained again.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.rows, self.lines = job, {}, 0

    def look(self) -> None:
        rows, log = self.job.rows(), logged(self.job)
        assert self.rows.items() <= rows.items(), "what was finished is lost or has changed"
        assert not trained(self.rows) & set(log[self.lines :]), (
            "what was finished was trained again"
        )
        self.rows, self.lines = rows, len(log)


def logged(job: Job) -> list[tuple[str, str, int]]:
    """The trainings the user's function went through, in order."""
    log = job.folder / "log"
    lines = log.read_text().split("\n")[:-1] if log.exists() else []
    return [(b1, b2, int(seed)) for b1, b2, seed in map(str.split, lines)]


def trained(rows: dict[str, tuple]) -> set[tuple[str, str, int]]:
    """The trainings in rows of the store, written as in the log."""
    settings = [(json.loads(row[2]), row[3]) for row in rows.values()]
    return {(str(s["beta1"]), str(s["beta2"]), seed) for s, seed in settings}


def live_for_a_while(life: Life, luck: random.Random) -> None:
    """Until some trainings more are stored; one time in five for a moment only."""
    if luck.random() < 0.8:
        enough = len(life.job.rows()) + luck.randint(1, 12)
        wait_until(lambda: len(life.job.rows()) >= enough or not life.process.is_alive(), 120)
    time.sleep(luck.uniform(0, 0.05))


def survive(job: Job, kills: int) -> None:
    luck, watch, struck = random.Random(f"{job.source[-10:]} {kills}"), Watch(job), 0
    for number in range(kills):
        life = job.start()
        live_for_a_while(life, luck)
        struck += life.process.is_alive()
        life.kill(parent_only=number % 2 == 0)  # and no process stays behind
        watch.look()
    assert struck > kills / 2, "it was hardly ever alive when it was killed"


def check_end(job: Job, expected: dict) -> None:
    """Run it to its end: it trains what is missing, and the map is as if nothing had happened."""
    watch = Watch(job)
    watch.look()
    found = len(watch.rows)
    phase_map = job.start().ended()
    watch.look()
    assert int(job.computed.read_text()) == len(watch.rows) - found
    assert shown(phase_map) == expected


@pytest.mark.parametrize(
    ("kind", "workers", "kills"),
    [
        (PLAIN, 0, 2),
        (TRAIN, 0, 2),
        (TRAIN, 2, 2),
        pytest.param(STACKED, 2, 20, marks=SLOW),
        pytest.param(TRAIN, 2, 20, marks=SLOW),
    ],
)
def test_a_map_killed_again_and_again(
    tmp_path: Path, undisturbed, kind: str, workers: int, kills: int
):
    job = made(tmp_path, kind, workers)
    survive(job, kills)
    check_end(job, undisturbed(kind))
    again = [training for training, times in Counter(logged(job)).items() if times > 1]
    assert len(again) <= kills * (2 * max(workers, 1) + 1), (
        "more than what was under way was trained again"
    )


@pytest.mark.parametrize(
    ("kind", "workers"),
    [
        (PLAIN, 0),
        (TRAIN, 0),
        pytest.param(STACKED, 2, marks=SLOW),
        pytest.param(TRAIN, 2, marks=SLOW),
    ],
)
def test_two_processes_share_a_store(tmp_path: Path, undisturbed, kind: str, workers: int):
    one = made(tmp_path, kind, workers)
    jobs = [one, replace(one, name="other")]
    maps = [life.ended() for life in [job.start() for job in jobs]]
    assert [shown(phase_map) for phase_map in maps] == [undisturbed(kind)] * 2
    assert sum(int(job.computed.read_text()) for job in jobs) == len(one.rows())
    assert len(set(logged(one))) == len(logged(one)), "a training was computed twice"


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=SLOW)])
def test_one_of_two_is_killed(tmp_path: Path, undisturbed, workers: int):
    one = made(tmp_path, TRAIN, workers)
    other = replace(one, name="other")
    killed, left = one.start(), other.start()
    wait_until(lambda: len(one.rows()) > 30, 120)
    killed.kill(parent_only=True)
    assert shown(left.ended()) == undisturbed(TRAIN)
    assert len(logged(one)) - len(set(logged(one))) <= 2 * max(workers, 1) + 1
    assert trained(one.rows()) == set(logged(one))
