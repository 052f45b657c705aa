"""A summary of a store: finished and claimed runs, living and dead owners, versions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from betaplane.maps.store.store import Store


@dataclass(frozen=True)
class Status:
    """What a store contains."""

    path: Path
    problem: str
    runs: int  # finished
    claimed_alive: int  # runs in progress
    claimed_dead: int  # runs whose owner died; the next claim takes them
    owners_alive: int
    owners_dead: int
    seconds: float  # of training, summed over finished runs
    created: datetime  # in UTC
    versions: Mapping[str, str]  # of the software that created it

    @property
    def claimed(self) -> int:
        """Runs that are claimed and not finished."""
        return self.claimed_alive + self.claimed_dead


def status_of(store: Store) -> Status:
    """The summary of a store; see `Store.status`."""
    living = {owner.token: alive for owner, alive in store._owners_alive()}
    claims = dict(store.rows("SELECT owner, count(*) FROM claims GROUP BY owner"))
    claimed_alive = sum(count for token, count in claims.items() if living.get(token))
    ((runs, seconds),) = store.rows("SELECT count(*), total(seconds) FROM runs")
    ((created, versions),) = store.rows("SELECT created, versions FROM about")
    return Status(
        path=store.path,
        problem=store.problem,
        runs=runs,
        claimed_alive=claimed_alive,
        claimed_dead=sum(claims.values()) - claimed_alive,
        owners_alive=sum(living.values()),
        owners_dead=len(living) - sum(living.values()),
        seconds=seconds,
        created=datetime.fromtimestamp(created, UTC),
        versions=_parse_versions(versions),
    )


def _parse_versions(text: str) -> dict[str, str]:
    """The versions as a dict; empty if they are damaged, which only betaplane 0.1 does not notice."""
    try:
        versions = json.loads(text)
    except ValueError:
        versions = {}
    return versions if isinstance(versions, dict) else {}
