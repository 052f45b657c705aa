"""A map in a process of its own, to be killed: `python driver.py EXECUTOR FOLDER KIND`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from betaplane.maps import map_phases, to_json

# appends to a log, and may kill its own worker once: if there is a file `kill`
TRAIN = """
import os, random, signal, time
from pathlib import Path

HERE = Path({folder!r})

def train(settings, seed):
    b1, b2 = settings["beta1"], settings["beta2"]
    with (HERE / "log").open("a") as log:
        log.write(f"{{b1}} {{b2}} {{seed}}\\n")
    random.seed(f"{{b1:.6g}} {{b2:.6g}} {{seed}}")
    time.sleep({seconds})
    if (HERE / "kill").exists() and len((HERE / "log").read_text().splitlines()) > 4:
        try:
            (HERE / "kill").rename(HERE / "killed")
        except OSError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    luck = random.random()
    return [1.0, 0.01 + 0.01 * luck if b2 > b1**2 + 0.1 * luck else 1.2]
"""
# runs of a Problem train side by side, in chunks of one seed
STACKABLE = """
import torch
from betaplane.problems import Problem

torch.manual_seed(0)
x = torch.randn(256, 8)
y = (x[:, 0] > 0.3 * x[:, 1] ** 2).long()

def net():
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))

train = Problem(
    "stackable", net, torch.nn.functional.cross_entropy, x, y, batch_size=16, steps=80, lr=0.1
)
"""
# arguments of `map_phases`, by the kind of map
HOWS = {
    "function": {"points": 4, "seeds": 2, "boundary_seeds": 2, "lr": 0.01},
    # of jobs, each of which is a new process
    "small": {"points": 3, "seeds": 1, "boundary_seeds": 1, "lr": 0.01, "search_lr": False},
    "stacked": {"points": 5, "seeds": 2, "boundary_seeds": 3, "engine": "stacked"},
}


def draw_map(executor: str, folder: Path, how: dict) -> dict:
    """All that a map contains; `executor` is a number of workers, or as in `map_phases`."""
    where = {"workers": int(executor)} if executor.isdecimal() else {"executor": executor}
    source = f"{folder}/mine.py:train"
    phase_map = map_phases(source, store=folder / "map.sqlite", **where, **how)  # type: ignore[arg-type]
    finals = {str(spot): list(cell.finals) for spot, cell in sorted(phase_map.cells.items())}
    found = {**to_json(phase_map), "finals": finals}
    return json.loads(json.dumps(found))


if __name__ == "__main__":
    where, folder, kind = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    text = json.dumps(draw_map(where, folder, HOWS[kind]))
    (folder / "map.part").write_text(text)
    (folder / "map.part").rename(folder / "map.json")
