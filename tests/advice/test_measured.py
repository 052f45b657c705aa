"""What was measured on your own problem comes first: the window of a trained map, the state in a
checkpoint.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import betaplane
from betaplane.advice import advise, read_checkpoint, window
from betaplane.advice.recommendation import MEASURED, PUBLISHED
from betaplane.errors import BadInput
from betaplane.maps import map_phases
from betaplane.maps.store.run_record import Record, run_key
from betaplane.maps.store.store import Store
from betaplane.problems import counterexample
from betaplane.replay import record_problem, save


def stored(
    path: Path, finals: dict[float, float], steps: int = 10, engine: str = "plain", **more
) -> Path:
    """A store with one training a beta2, beside what is there already."""
    with Store.open(path, "1f3a", "mine") as store:
        for beta2, final in finals.items():
            said = {
                "rule": "Adam",
                "beta1": 0.9,
                "beta2": beta2,
                "lr": 1e-3,
                "batch_size": 32,
                **more,
            }
            curve = np.array([1.0, final], np.float32)
            store.finish(
                [Record(run_key(said, 0, steps), said, 0, steps, 1.0, final, curve, 0.1, engine)]
            )
    return path


FINALS = {0.5: 0.9, 0.9: 0.4, 0.95: 0.03, 0.99: 0.01, 0.999: 0.02, 0.9999: float("inf")}


def test_the_window_of_a_store(tmp_path):
    found = window(stored(tmp_path / "a.sqlite", FINALS), batch=32)
    assert (found.low, found.best, found.high) == (0.95, 0.99, 0.999)
    assert (found.problem, found.trainings, found.open_low, found.open_high) == (
        "mine",
        6,
        False,
        False,
    )


def test_chosen_beta2_is_far_from_bad_ones(tmp_path):
    lucky = {0.9: 0.9, 0.93: 0.001, 0.99: 0.02, 0.999: 0.01, 0.9999: 0.02}
    assert window(stored(tmp_path / "a.sqlite", lucky), batch=32).best == 0.999


def test_map_has_priority(tmp_path):
    advice = advise(32, map=stored(tmp_path / "a.sqlite", FINALS))
    row = advice["beta2"]
    assert (row.value, row.low, row.high, row.confidence) == (0.99, 0.95, 0.999, MEASURED)
    assert "On your map of mine training is good from 0.95 to 0.999, at beta1 = 0.9." in row.reason


def test_a_map_of_another_batch_size_is_carried_over(tmp_path):
    row = advise(8, map=stored(tmp_path / "a.sqlite", FINALS))["beta2"]
    assert (row.value, row.confidence) == (pytest.approx(0.99**0.25), PUBLISHED)


@pytest.mark.parametrize(
    "other",
    [
        {"rule": "Lion"},
        {"rule": "AMSGrad"},
        {"steps": 5},
        {"lr": 1e-4},
        {"rule": "AdamW", "weight_decay": 0.1},
    ],
    ids=str,
)
def test_runs_of_another_plan_are_ignored(tmp_path, other):
    path = stored(tmp_path / "a.sqlite", FINALS)
    alone = window(path, batch=32)
    stored(path, {0.3: 0.001, 0.5: 0.001, 0.9: 0.001, 0.95: 0.9, 0.97: 0.001}, **other)
    assert window(path, batch=32) == alone


def test_longest_runs_are_used_even_if_few(tmp_path):
    path = stored(tmp_path / "a.sqlite", FINALS)
    stored(path, {0.9: 0.4, 0.99: 0.3, 0.999: 0.01}, steps=200)
    found = window(path, batch=32)
    assert (found.low, found.high, found.trainings) == (0.999, 0.999, 3)


def test_only_runs_of_the_window_are_counted(tmp_path):
    path = stored(tmp_path / "a.sqlite", FINALS)
    stored(path, FINALS, beta1=0.0)
    assert window(path, batch=32).trainings == len(FINALS)
    assert "window of 6 runs, batch 32" in advise(32, map=path)["beta2"].formula


@pytest.mark.parametrize("final", [float("inf"), 1.0, 2.0])
def test_map_without_good_runs_is_rejected(tmp_path, final):
    path = stored(tmp_path / "a.sqlite", dict.fromkeys(FINALS, final))
    with pytest.raises(
        BadInput, match=f"No run on the map trains well: got {final}; expected a final loss below"
    ):
        advise(32, map=path)


def test_a_map_of_other_rules_alone(tmp_path):
    path = stored(tmp_path / "a.sqlite", FINALS, rule="Lion")
    with pytest.raises(
        BadInput,
        match="has no map over beta2: got 0; expected at least 2 values of beta2, trained with Ad",
    ):
        window(path, batch=32)


def test_a_trainer_keeps_its_own_batch_size(tmp_path):
    path = stored(tmp_path / "a.sqlite", FINALS, engine="callable", batch_size=1)
    row = advise(32, map=path)["beta2"]
    assert (row.value, row.low, row.high, row.confidence) == (0.99, 0.95, 0.999, MEASURED)
    assert row.formula == "window of 6 runs, the Trainer's own batch"


def test_a_real_map(tmp_path):
    """The counterexample's window begins above its exact threshold."""
    problem, path = counterexample(n=10), tmp_path / "map.sqlite"
    map_phases(
        problem, points=8, steps=1500, seeds=1, boundary_seeds=1, dense=True, workers=0, store=path
    )
    found = window(path, batch=problem.batch_size, beta1=0.0)
    assert problem.boundary(0.0) < found.low <= found.best
    assert found.open_high


def recorded(path: Path, n: int) -> Path:
    save(record_problem(counterexample(n=n), steps=40 * n), path)
    return path


def test_recorded_gradients_raise_beta2_to_their_threshold(tmp_path):
    """On the counterexample that is above the exact boundary; a window that lies higher stays."""
    path = recorded(tmp_path / "grads.safetensors", n=20)
    boundary = counterexample(n=20).boundary(0.9)
    low = advise(1, before="batch=1,betas=0.9,0.92", replay=path)
    assert low["beta2"].value == low["beta2"].low > boundary
    assert low["beta2"].confidence == MEASURED
    assert any(
        note.startswith("Your recorded gradients are good from beta2 = 0.9")
        for note in low.warnings
    )
    high = advise(1, before="batch=1,betas=0.9,0.999", replay=path)
    assert (high["beta2"].value, high["beta2"].confidence) == (0.999, PUBLISHED)


def test_a_recording_without_that_batch_size(tmp_path):
    with pytest.raises(
        BadInput, match="This batch size cannot be made from the recording: got 1000"
    ):
        advise(1000, replay=recorded(tmp_path / "grads.safetensors", n=5))


def saved(path: Path, g: torch.Tensor, **options) -> Path:
    x = torch.nn.Parameter(torch.ones(len(g)))
    optimizer = torch.optim.AdamW([x], **options)
    for _ in range(3):
        x.grad = g.clone()
        optimizer.step()
    torch.save({"optimizer": optimizer.state_dict()}, path)
    return path


def test_checkpoint_gives_eps_and_settings(tmp_path):
    g = torch.tensor([1.0, 1e-3, 1e-5, 0.0])
    path = saved(tmp_path / "opt.pt", g, lr=2e-3, betas=(0.8, 0.98), eps=1e-4, weight_decay=0.2)
    found = read_checkpoint(path)
    assert (found.damped, found.zero, found.numbers, found.steps) == (0.5, 0.25, 4, 3)
    advice = advise(32, checkpoint=path)
    assert advice["eps"].value == pytest.approx(1e-12)
    assert advice["eps"].reason.endswith(
        "have sqrt(v) < eps = 0.0001; reduced to 0.0001 times the default 1e-08."
    )
    assert advice["eps"].confidence == MEASURED
    assert advice.settings["betas"] == (0.8, 0.98)
    assert advice.settings["lr"] == 0.002


def test_a_checkpoint_where_eps_is_small_keeps_it(tmp_path):
    assert advise(32, checkpoint=saved(tmp_path / "opt.pt", torch.ones(8)))["eps"].value == 1e-8


@pytest.mark.parametrize("storage", ["float32", "bfloat16", "8bit"])
def test_checkpoint_of_8_bits_gives_the_same(tmp_path, storage):
    """What is kept in 8 bits are codes, and not second moments."""
    p = torch.nn.Parameter(torch.zeros(64, 128))
    optimizer = betaplane.AdamW([p], storage=storage)
    for step in range(5):
        p.grad = 1e-9 * torch.randn(64, 128, generator=torch.Generator().manual_seed(step))
        optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "opt.pt")
    found = read_checkpoint(tmp_path / "opt.pt")
    assert (found.damped, found.numbers, found.steps) == (1.0, 64 * 128, 5)
    assert advise(32, checkpoint=tmp_path / "opt.pt")["eps"].value < 1e-8


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("touched"),)


def test_untrusted_file_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bare = lambda what, path: Path(path).write_bytes(pickle.dumps(what))  # noqa: E731
    for write, message in (
        (torch.save, "The pickle in this file would call"),
        (bare, "The file is damaged, or not a torch"),
    ):
        write(Evil(), "evil.pt")
        with pytest.raises(BadInput, match=message):
            read_checkpoint("evil.pt")
    assert not Path("touched").exists()


def test_files_without_measurements_are_rejected(tmp_path):
    torch.save({"param_groups": [{"lr": 1.0}], "state": {}}, tmp_path / "sgd.pt")
    with pytest.raises(BadInput, match="contains no state of an Adam-type optimizer"):
        read_checkpoint(tmp_path / "sgd.pt")
    with pytest.raises(BadInput, match="The store has no map over beta2: got 1; expected"):
        window(stored(tmp_path / "one.sqlite", {0.9: 0.1}), batch=32)
    (tmp_path / "text.sqlite").write_text("no store")
    with pytest.raises(BadInput, match="The file is not a store"):
        window(tmp_path / "text.sqlite", batch=32)
