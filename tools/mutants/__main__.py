"""`python -m tools.mutants`: draw mutants by a seed, run the tests that execute them, print the
score.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from functools import cache
from typing import Any

from tools.mutants.executions import KEPT, ROOT, executions
from tools.mutants.forked import Child, finished, import_heavy, start
from tools.mutants.mutations import Mutant, mutants
from tools.mutants.relevant import relevant
from tools.mutants.scope import noticing, sources
from tools.mutants.trial import trial

EQUIVALENT = ROOT / "tools" / "mutants" / "equivalent.json"
KILLERS = KEPT / "killers.json"  # the test that killed a mutant last time is tried first


def main() -> None:
    """Draw, run, print."""
    how = _arguments()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT / "src"))
    if how.check:
        outdated = outdated_keys()
        print("\n".join(outdated) or "every key of equivalent.json is a mutant")
        sys.exit(bool(outdated))
    import_heavy()
    sample = drawn(how.seed, how.count, how.only)
    if how.list:
        print("\n".join(f"{mutant.file}:{mutant.line}: {mutant.change}" for mutant in sample))
        return
    tests = executions(noticing(how.only), stale=how.stale)
    equivalent = json.loads(EQUIVALENT.read_text()) if EQUIVALENT.exists() else {}
    outcomes = run(sample, tests, equivalent, how.jobs)
    _print_score(how, outcomes)


def _arguments() -> Any:
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="which sample [default: 0]")
    parser.add_argument(
        "--count", type=int, default=200, help="mutants in the sample [default: 200]"
    )
    parser.add_argument("--only", default="", help="only files whose path contains this")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="children at a time [default: cores]"
    )
    parser.add_argument(
        "--stale", action="store_true", help="keep the record of executions if only sources changed"
    )
    parser.add_argument("--list", action="store_true", help="print the sample and run nothing")
    parser.add_argument(
        "--check",
        action="store_true",
        help="print keys of equivalent.json that are no mutant any more, and run nothing",
    )
    return parser.parse_args()


def drawn(seed: int, count: int, only: str) -> list[Mutant]:
    """The mutants with the smallest hashes of seed and key: edits elsewhere leave the rest of a
    sample as it is.
    """
    pool = [mutant for file in sources(only) for mutant in mutants(file, _source(file))]
    pool.sort(key=lambda mutant: hashlib.sha256(f"{seed}|{mutant.key}".encode()).hexdigest())
    sample = []
    for mutant in pool:
        if len(sample) < count and mutant.applied(_source(mutant.file)) is not None:
            sample.append(mutant)
    return sorted(sample, key=lambda mutant: (mutant.file, mutant.span))


def outdated_keys() -> list[str]:
    """Keys of equivalent mutants whose file or line has changed."""
    keys = {mutant.key for file in sources() for mutant in mutants(file, _source(file))}
    return [key for key in json.loads(EQUIVALENT.read_text()) if key not in keys]


@cache
def _source(file: str) -> str:
    return (ROOT / file).read_text()


def run(
    sample: list[Mutant], tests: dict[str, dict[str, Any]], equivalent: dict[str, str], jobs: int
) -> dict[str, list[Mutant]]:
    """Killed, survived and equivalent mutants, printed as they are known."""
    outcomes: dict[str, list[Mutant]] = {"killed": [], "survived": [], "equivalent": []}
    killers = json.loads(KILLERS.read_text()) if KILLERS.exists() else {}
    waiting, running = list(sample), {}
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop(0)
            if mutant.key in equivalent:
                outcomes["equivalent"].append(mutant)
                _print_one("equivalent", mutant, equivalent[mutant.key])
            else:
                running[mutant] = _started(mutant, tests, killers.get(mutant.key, ""))
        for mutant, child in list(running.items()):
            done, failed = finished(child) if child else (True, "")
            if done:
                del running[mutant]
                killer = "stopped" if failed is None else failed
                outcomes["killed" if killer else "survived"].append(mutant)
                _print_one("killed" if killer else "survived", mutant, killer)
                killers[mutant.key] = killer
                KILLERS.write_text(json.dumps(killers))
        time.sleep(0.02)
    return outcomes


def _started(mutant: Mutant, tests: dict[str, dict[str, Any]], killer: str) -> Child | None:
    """A child that runs the relevant tests; None if no test executes the mutant."""
    source = mutant.applied(_source(mutant.file))
    chosen, seconds = relevant(mutant, tests, killer)
    if not chosen or source is None:
        return None
    return start(lambda: trial(mutant, source, chosen), limit=30 + 3 * seconds)


def _print_one(outcome: str, mutant: Mutant, why: str) -> None:
    print(f"{outcome:<10} {mutant.file}:{mutant.line}  {mutant.change}  [{why}]", flush=True)
    if outcome == "survived":
        print(mutant.diff(_source(mutant.file)), flush=True)
        print(f"key: {mutant.key}\n", flush=True)


def _print_score(how: Any, outcomes: dict[str, list[Mutant]]) -> None:
    killed, survived, equivalent = (
        len(outcomes[name]) for name in ("killed", "survived", "equivalent")
    )
    print(f"\nseed {how.seed}: {killed} killed, {survived} survived, {equivalent} equivalent")
    print(
        f"score: {killed / max(1, killed + survived):.1%} of {killed + survived} mutants are killed"
    )


if __name__ == "__main__":
    main()
