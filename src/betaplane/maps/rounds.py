"""The chunks of runs that a map is expected to train, round by round, before anything is trained.

The real chooser is asked, and receives the verdicts of a typical map: failing on one side of
beta1 = sqrt(beta2), or on one side of a diagonal if the axes are others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from betaplane.maps.lr_search import FRESH_SEEDS, SEEDS
from betaplane.maps.phase_map import DEGRADED, FAILING, GOOD, Spot
from betaplane.maps.plan import Plan
from betaplane.maps.recommend import CANDIDATES
from betaplane.maps.sampling.ask_tell import Chooser, Request

Rounds = list[list[int]]  # the number of runs of each chunk; rounds run one after another
STRIP = 0.06  # width of the degraded strip beside failing cells, as a share of the map
TRIED_LRS = 3  # per setting
# further rounds of the search for a learning rate, each of one setting
MORE_LR_ROUNDS = 3


def expected_rounds(plan: Plan, chooser: Chooser, chunk: int, searches: bool) -> Rounds:
    """The chunks of each round.

    Args:
        plan: what the map trains.
        chooser: requests the runs; it is used up.
        chunk: the largest number of runs that are trained together.
        searches: whether learning rates are searched at the end.
    """
    verdicts, rounds = typical_verdicts(plan), []
    known: dict[Spot, int] = {}
    while requests := chooser.ask():
        rounds.append(_chunks(plan, requests, known, chunk))
        known |= {request.spot: request.seeds for request in requests}
        chooser.tell({spot: [int(verdicts[spot])] * seeds for spot, seeds in known.items()})
    rounds += [_undecided(plan), *_search_rounds(plan, chunk, searches)]
    return [sizes for sizes in rounds if sizes]


def typical_verdicts(plan: Plan) -> np.ndarray:
    """The verdicts of a typical map, int8 (nx, ny)."""
    if (plan.x.name, plan.y.name) == ("beta1", "beta2"):
        beta1, beta2 = np.array(plan.x.values)[:, None], np.array(plan.y.values)[None, :]
        inside = np.log10(1 - beta1) - np.log10(1 - np.sqrt(beta2))
        depth = np.where(beta1 < np.sqrt(beta2), inside / 4, -1.0)
    else:
        x, y = (np.linspace(0, 1, len(ax)) for ax in (plan.x, plan.y))
        depth = (x[:, None] + y[None, :] - 1) / np.sqrt(2)
    strip = np.where(depth < STRIP, DEGRADED, GOOD)
    return np.where(depth < 0, FAILING, strip).astype(np.int8)


def _chunks(
    plan: Plan, requests: Sequence[Request], known: Mapping[Spot, int], chunk: int
) -> list[int]:
    """The sizes of the chunks: no chunk has runs of two seeds, batch sizes or variants."""
    runs: Counter[tuple] = Counter()
    for spot, seeds in requests:
        group = plan.group(spot)
        runs.update((group, seed) for seed in range(known.get(spot, 0), seeds))
    return [size for count in runs.values() for size in _portions(count, chunk)]


def _undecided(plan: Plan) -> list[int]:
    """The chunks of one cell whose seeds disagree, which gets twice as many seeds; see
    `Mapper.run`.
    """
    if plan.trainings is not None or plan.seeds == 1:
        return []
    most = max(plan.seeds, plan.boundary_seeds)
    return [1] * (2 * most - (plan.seeds if plan.dense else most))


def _portions(count: int, chunk: int) -> list[int]:
    whole, rest = divmod(count, chunk)
    return [chunk] * whole + [rest] * (rest > 0)


def _search_rounds(plan: Plan, chunk: int, searches: bool) -> Rounds:
    """The rounds of the usual search for a learning rate."""
    if not searches:
        return []
    settings = [TRIED_LRS, CANDIDATES * TRIED_LRS, *[1] * MORE_LR_ROUNDS]
    if plan.one_seed:  # what is compared was tried before
        return [_portions(count, chunk) for count in settings]
    tried = [_portions(count, chunk) * len(SEEDS) for count in settings]
    return [*tried, _portions(2, chunk) * len(FRESH_SEEDS), _portions(3, chunk) * len(FRESH_SEEDS)]
