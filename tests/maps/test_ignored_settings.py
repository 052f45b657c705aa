"""Settings that a training function ignores are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.commands import ended

from betaplane.maps import map_phases, tune
from betaplane.problems import Trainer

HOW = {"points": 2, "seeds": 1, "dense": True, "search_lr": False, "workers": 0, "progress": False}


def adam(uses, steps=4, lr=0.1):
    """Adam on x^2 / 2 with the settings that `uses` names, and defaults for the others."""

    def train(settings, seed):
        defaults = {"lr": lr, "beta1": 0.9, "beta2": 0.999}
        b1, b2, rate = (
            settings[name] if name in uses else defaults[name] for name in ("beta1", "beta2", "lr")
        )
        x, m, v, losses = 1.0 + seed, 0.0, 0.0, []
        for t in range(1, steps + 1):
            losses.append(x * x / 2)
            m, v = b1 * m + (1 - b1) * x, b2 * v + (1 - b2) * x * x
            x -= rate * (m / (1 - b1**t)) / ((v / (1 - b2**t)) ** 0.5 + 1e-8)
        return losses

    return Trainer("mine", train, defaults={"lr": lr})


def ignored(trainer, *axes):
    return map_phases(trainer, *axes, **HOW).facts.get("settings without effect", "")


def test_an_ignored_setting_is_named_and_a_used_one_is_not():
    assert ignored(adam(["beta1", "beta2"]), "beta1", "beta2") == ""
    assert ignored(adam(["beta1"]), "beta1", "beta2") == (
        "beta2 had no effect: runs from 0 to 0.9999 have the same losses to the last bit "
        "(does the training use settings['beta2']?)"
    )
    assert "lr had no effect" in ignored(adam(["beta1"]), "lr", "beta1")


@pytest.mark.parametrize("steps", [1, 2])
def test_nothing_is_said_of_runs_that_are_too_short_to_depend_on_betas(steps):
    assert ignored(adam([], steps), "beta1", "beta2") == ""


def test_runs_that_diverge_are_not_compared():
    assert (
        ignored(Trainer("mine", lambda s, seed: [1.0, 2.0, float("nan")]), "beta1", "beta2") == ""
    )


def test_tune_names_an_ignored_setting():
    how = {"max_runs": 16, "seeds": 2, "workers": 0, "progress": False}
    assert tune(adam(["lr", "beta1", "beta2"]), **how).ignored == ""
    found = tune(adam(["beta1", "beta2"]), **how)
    assert found.ignored.startswith("lr had no effect: runs from ")
    assert found.to_dict()["ignored"] == found.ignored


def test_the_command_prints_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "def train(settings, seed):\n    return [2.0, settings['beta1'], 1.0]\n"
    )
    words = "map mine.py:train --points 2 --seeds 1 --boundary-seeds 1 --workers 0 --lr fixed"
    code, _, err = ended(words, capsys)
    assert code == 0
    assert "Warning: beta2 had no effect: runs from 0 to 0.9999 have the same losses" in err
