"""Sharded training is unsharded training, whatever torch shards it with; two processes on one
machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).with_name("sharded_runs.py")
WORLD = 2
CLOSE = 1e-10

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch knows no processes"
)


def run_ranks(folder: Path, which: str, seconds: float) -> dict[str, Any]:
    """What the first process found, once all have ended well; where one fails or hangs, all end."""
    with ExitStack() as stack:
        logs = [stack.enter_context((folder / f"{rank}.out").open("w")) for rank in range(WORLD)]
        started = [
            subprocess.Popen(
                [sys.executable, SCRIPT, str(rank), str(WORLD), folder, which],
                stdout=log,
                stderr=log,
            )
            for rank, log in enumerate(logs)
        ]
        end = time.monotonic() + seconds
        while any(one.poll() is None for one in started) and not any(one.poll() for one in started):
            time.sleep(0.1)
            if time.monotonic() > end:
                break
        for process in started:
            process.kill()
            process.wait()
    said = "\n".join((folder / f"{rank}.out").read_text()[-3000:] for rank in range(WORLD))
    assert [process.returncode for process in started] == [0] * WORLD, said
    return json.loads((folder / "0.json").read_text())


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_ranks(tmp_path_factory.mktemp("ranks"), "some", 120)


def far(figures: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if not value <= CLOSE}


def test_every_rule_steps_as_unsharded(found: dict[str, Any]) -> None:
    figures = found["every_rule"]
    assert len(figures) >= 24
    assert not far({name: parameters for name, (parameters, _, _) in figures.items()})
    assert not far({name: states for name, (_, states, _) in figures.items()})
    assert not [name for name, (*_, kept) in figures.items() if not kept]


def test_batches_can_be_shared_out(found: dict[str, Any]) -> None:
    assert not far(found["shared_batches"])


def test_rules_by_number_touch_no_dtensor(found: dict[str, Any]) -> None:
    counts = found["local_steps"]
    assert counts["AdamW()"] == counts["Lion()"] == 0
    assert counts["fused lists kept"] == 1


def test_new_states_are_filled_and_weights_stay(found: dict[str, Any]) -> None:
    assert not [name for name, same in found["fresh_states"].items() if not same]


def test_states_go_from_one_process_to_two_and_back(found: dict[str, Any]) -> None:
    assert not far(found["whole_state_dicts"])


def test_checkpoints_reshard(found: dict[str, Any]) -> None:
    assert not far(found["resharding"])


def test_types_of_states_are_kept(found: dict[str, Any]) -> None:
    assert found["types_are_kept"] == ["torch.float32"] * 3


def test_all_processes_skip_and_refuse_alike(found: dict[str, Any]) -> None:
    for moved, error in found["bad_gradients"].values():
        assert moved == [True, True, False, True, True, True]
        assert "A gradient is not finite: got '1 of 8320 numbers'" in error
        assert "(2.weight, shape (65, 128))" in error


def test_curvature_is_taken_in(found: dict[str, Any]) -> None:
    assert found["curvature"] <= CLOSE


def test_live_optimizers_and_later_groups(found: dict[str, Any]) -> None:
    assert not far(found["taken_over"])


def test_formats_averages_and_clipping_by_norm(found: dict[str, Any]) -> None:
    assert not [name for name, same in found["around"].items() if not same]


def test_blocks_of_8_bits_go_with_their_rows(found: dict[str, Any]) -> None:
    assert found["eight_bits"] <= CLOSE


def test_vectors_stay_in_8_bits(found: dict[str, Any]) -> None:
    """Where blocks change, elements are rounded again: m by 1/8 of itself at most, v by 1/16."""
    assert found["vectors_in_eight_bits"] < 0.25


REFUSALS = [
    "The state exp_avg has another shape: got (64, 128); expected (65, 128) (",
]


def test_wrong_states_are_told(found: dict[str, Any]) -> None:
    for said, start in zip(found["wrong_states"], REFUSALS, strict=True):
        assert said.startswith(start)


def test_ddp_and_zero(found: dict[str, Any]) -> None:
    assert not far(found["data_parallel"])


@pytest.mark.slow
def test_every_rule_on_every_road(tmp_path: Path) -> None:
    more = run_ranks(tmp_path, "more", 900)
    assert not more["other_placements"]  # what differs, and by how much
    assert not far(more["every_resharding"] | more["every_data_parallel"] | more["compiled"])
