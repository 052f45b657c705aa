"""Checkpoints and maps at the limits of what is read from them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from betaplane.advice import advise, read_checkpoint, window
from betaplane.advice.measurements import _nearest, _robust, _window
from betaplane.errors import BadInput
from betaplane.maps.store.run_record import Record, run_key
from betaplane.maps.store.store import Store

# a checkpoint


def saved(path: Path, **group) -> Path:
    """A checkpoint of one step at root second moments of 3e-8, 1.005e-8 and 0."""
    v = 1e-3 * torch.tensor([3e-8, 1.005e-8, 0.0]).square()
    state = {0: {"step": 1, "exp_avg": torch.zeros(3), "exp_avg_sq": v}}
    groups = [{"params": [0], "lr": 1e-3, "betas": (0.9, 0.999), **group}]
    torch.save({"state": state, "param_groups": groups}, path)
    return path


def test_a_checkpoint_without_eps_is_judged_by_the_default(tmp_path: Path):
    found = read_checkpoint(saved(tmp_path / "a.pt"))
    assert found.damped == pytest.approx(1 / 3)  # 1.005e-8 is above 1e-8
    assert found.zero == pytest.approx(1 / 3)
    assert read_checkpoint(saved(tmp_path / "b.pt", eps=2e-8)).damped == pytest.approx(2 / 3)


def test_params_and_settings_that_are_given_go_before_those_of_a_checkpoint(tmp_path: Path):
    path = saved(tmp_path / "a.pt", eps=1e-8)
    assert "3 parameters" in advise(32, checkpoint=path).about
    assert "5 parameters" in advise(32, checkpoint=path, params=5).about
    assert "parameters" not in advise(32).about
    given = advise(32, before="batch=16,betas=0.5,0.7", checkpoint=path)
    assert given["beta1"].value == 0.5
    assert advise(32, checkpoint=path)["beta1"].value == 0.9


# a map


def mapped(path: Path, finals: dict[float, float], **settings) -> Path:
    with Store.open(path, "1f3a", "mine") as store:
        for b2, final in finals.items():
            said = {"rule": "Adam", "beta1": 0.9, "lr": 1e-3, "batch_size": 32, **settings}
            said["beta2"] = b2
            store.finish(
                [Record(run_key(said, 0, 9), said, 0, 9, 1.0, final, np.ones(2), 0.1, "plain")]
            )
    return path


@pytest.mark.parametrize(("final", "low"), [(0.0499, 0.9), (0.05, 0.99), (0.0502, 0.99)])
def test_a_good_setting_scores_below_a_twentieth(tmp_path: Path, final, low):
    found = window(mapped(tmp_path / "a.sqlite", {0.9: final, 0.99: 0.0, 0.999: 0.5}), batch=32)
    assert (found.low, found.high, found.open_low, found.open_high) == (
        low,
        0.99,
        low == 0.9,
        False,
    )


def test_a_window_that_reaches_the_ends_of_the_map_is_open(tmp_path: Path):
    found = window(mapped(tmp_path / "a.sqlite", {0.9: 0.0, 0.99: 0.01}), batch=32)
    assert (found.low, found.high, found.open_low, found.open_high) == (0.9, 0.99, True, True)
    end = window(mapped(tmp_path / "b.sqlite", {0.9: 0.9, 0.99: 0.01, 0.999: 0.0}), batch=32)
    assert (end.low, end.high, end.open_low, end.open_high) == (0.99, 0.999, False, True)


def test_the_nearest_beta1_is_by_horizon_and_the_nearest_batch_by_factor():
    """Horizons of 1, 6.7 and 100; batches of 4, 20 and 64."""

    def nearest(name: str, values: tuple[float, ...], value: float) -> float:
        records = [SimpleNamespace(settings={name: each}) for each in values]
        [found] = _nearest(records, name, value)
        return found.settings[name]

    assert nearest("beta1", (0.0, 0.99), 0.85) == 0.0
    assert nearest("beta1", (0.0, 0.99), 0.95) == 0.99
    assert nearest("batch_size", (4, 64), 20) == 64
    assert nearest("batch_size", (4, 64), 12) == 4


def test_a_beta2_a_decade_from_bad_ones_is_far_enough():
    """Of those, the lowest loss decides; of nearer ones, the distance."""
    finals = {0.9: 9.0, 0.99: 3.0, 0.999: 2.0, 0.9999: 1.0, 0.99999: 9.0}
    assert _robust([0.99, 0.999, 0.9999], [0.9, 0.99999], finals) == 0.9999
    assert _robust([0.99, 0.999], [0.9, 0.9995], finals) == 0.99
    assert _robust([0.95, 0.98], [0.9], {0.95: 1.0, 0.98: 2.0}) == 0.98


def test_a_window_ends_at_the_first_bad_beta2_on_either_side():
    """Of 3 before training and 1 at best, up to 1.1 is good, 1.1 itself not."""
    finals = {0.3: 1.0, 0.5: 1.2, 0.9: 1.09, 0.95: 1.0, 0.99: 1.05, 0.995: 1.1, 0.999: 1.0}
    found = _window("mine", (0.9, 32.0), finals, 3.0, 0.05, 7)
    assert (found.low, found.high) == (0.3, 0.3)  # the first of the lowest losses
    finals[0.3] = 1.01
    found = _window("mine", (0.9, 32.0), finals, 3.0, 0.05, 7)
    assert (found.low, found.high) == (0.9, 0.99)
    assert (found.open_low, found.open_high) == (False, False)
    assert (found.problem, found.beta1, found.batch, found.trainings) == ("mine", 0.9, 32.0, 7)
    # log10 of horizons beyond: 0.7 from 0.5 and 0.3 to 0.995; 1 and 0.6; 1.7 and 0.3
    assert found.best == 0.95


@pytest.mark.parametrize(("number", "fits"), [(1, False), (2, True)])
def test_a_map_over_beta2_has_two_values_of_it(tmp_path: Path, number, fits):
    path = mapped(tmp_path / "a.sqlite", dict(list({0.9: 0.0, 0.99: 0.5}.items())[:number]))
    if fits:
        assert window(path, batch=32).low == 0.9
        return
    with pytest.raises(BadInput, match="has no map over beta2: got 1; expected at least 2"):
        window(path, batch=32)


def test_of_the_longest_runs_those_of_the_commonest_settings_are_read(tmp_path: Path):
    """Three runs at lr = 1e-3, two at 1e-2 with lower losses."""
    path = tmp_path / "a.sqlite"
    mapped(path, {0.9: 0.0, 0.99: 0.0}, lr=1e-2)
    mapped(path, {0.95: 0.2, 0.99: 0.2, 0.999: 0.9})
    found = window(path, batch=32)
    assert (found.low, found.high, found.trainings) == (0.95, 0.99, 3)


def test_steps_are_the_largest_count_and_an_lr_of_0_is_unknown(tmp_path: Path):
    v = torch.ones(1)
    state = {i: {"step": 3 * i + 1, "exp_avg": v, "exp_avg_sq": v} for i in range(3)}
    group = {"params": [0, 1, 2], "lr": 0.0, "betas": (0.9, 0.999), "eps": 1e-8}
    torch.save({"state": state, "param_groups": [group]}, tmp_path / "a.pt")
    found = read_checkpoint(tmp_path / "a.pt")
    assert (found.steps, found.numbers, found.settings.lr) == (7, 3, None)
