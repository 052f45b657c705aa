"""Maps of commands: own axes, failures, early ends, resuming."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from betaplane.errors import BadInput
from betaplane.figures import html, png
from betaplane.maps import Store, map_phases, plan_for
from betaplane.maps.mapper import run_plan
from betaplane.problems import Command, Trainer
from betaplane.problems.source import as_problem

HOW = {"points": 2, "seeds": 1, "boundary_seeds": 1, "search_lr": False, "dense": True}


def command(tmp_path: Path, script: str, arguments: str = "{beta1} {beta2}", **options) -> Command:
    file = tmp_path / "train.py"
    header = "import os, sys, time\nvalues = [float(text) for text in sys.argv[1:]]\n"
    file.write_text(f"{header}{script}\n")
    return Command(f"{sys.executable} {file} {arguments}", r"stdout:loss=(\S+)", **options)


GOOD_ABOVE = "print('loss=1'); print('loss=%g' % (0.0 if values[1] > 0.5 else 0.9))"


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_command_is_mapped(tmp_path, workers: int):
    phase_map = map_phases(command(tmp_path, GOOD_ABOVE), workers=workers, **HOW)
    assert phase_map.problem == "train"
    assert phase_map.verdicts.tolist() == [[2, 0], [2, 0]]
    assert phase_map.facts["engine"] == "command"
    assert "never mentions {seed}" in phase_map.facts["unseeded"]


def test_hyperparameter_of_the_users_own_is_an_axis(tmp_path):
    script = (
        "print('loss=1'); print('loss=%g' % (values[0] * values[1])); assert sys.argv[1] in '14'"
    )
    source = command(tmp_path, script, "{layers} {dropout}")
    axes = ("layers", 1, 4), ("dropout", 0.01, 0.5)
    phase_map = map_phases(source, *axes, workers=0, **HOW)
    assert (phase_map.x.values, phase_map.y.values) == ((1, 4), (0.01, 0.5))
    finals = [cell.finals[0] for cell in phase_map.cells.values()]
    assert finals == pytest.approx([0.01, 0.5, 0.04, 2.0])
    cell = phase_map.cells[1, 0]
    assert (cell.settings["layers"], cell.settings["dropout"]) == (4, 0.01)


def test_functions_take_hyperparameters_of_the_users_own():
    def train(settings, seed):
        return [1.0, settings["width"] * settings["lr"]]

    phase_map = map_phases(train, ("width", 1, 2), ("lr", 0.25, 0.5), workers=0, **HOW)
    assert [cell.finals[0] for cell in phase_map.cells.values()] == [0.25, 0.5, 0.5, 1.0]
    assert phase_map.recommendation is not None
    assert phase_map.recommendation.settings["width"] == 1
    assert b"width" in html(phase_map).encode()
    assert png(phase_map).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ("bata1", r"own needs a range \(or did you mean beta1\?\): got 'bata1' \(x\)"),
        (("seed", 1, 10), "The name cannot be a hyperparameter: got 'seed'"),
        (("my flag", 1, 10), "The name cannot be a hyperparameter: got 'my flag'"),
        (("width", 0, 10), r"Invalid range for the width axis: got \(0, 10\)"),
    ],
)
def test_bad_axis_of_the_users_own_is_refused(x, message: str):
    with pytest.raises(BadInput, match=message):
        plan_for(Trainer("mine", lambda settings, seed: [1.0]), x)


@pytest.mark.parametrize(
    ("arguments", "how", "message"),
    [
        ("{beta1} {beta3}", {}, r"Unknown placeholder '\{beta3\}'. Did you mean"),
        ("{beta1} {layers}", {}, r"Unknown placeholder '\{layers\}'"),
        ("{beta1}", {}, "The command never mentions beta2"),
        ("{beta1} {beta2}", {"lr": 0.1}, "The command never mentions lr"),
        ("{beta1} {beta2}", {"eps": 0.1}, "The command never mentions eps"),
        ("{beta1} {beta2} {steps}", {}, r"Unknown placeholder '\{steps\}'"),
        ("{beta1} {beta2}", {"steps": 10}, "The command never mentions steps"),
    ],
)
def test_command_that_does_not_fit_the_plan_is_refused(tmp_path, arguments, how, message: str):
    with pytest.raises(BadInput, match=message):
        map_phases(command(tmp_path, GOOD_ABOVE, arguments), **{**HOW, **how})


def test_script_that_reads_the_environment_need_not_mention_settings(tmp_path):
    script = "print('loss=1'); print('loss=' + os.environ['BETAPLANE_BETA2'])"
    source = command(tmp_path, script, "", reads_environment=True)
    phase_map = map_phases(source, "beta1", ("beta2", 0, 0.5), workers=0, **HOW)
    assert [cell.finals[0] for cell in phase_map.cells.values()] == [0.0, 0.5, 0.0, 0.5]


def test_steps_reach_the_command(tmp_path):
    script = "print('loss=1'); print('loss=%g' % (1 / values[2]))"
    source = command(tmp_path, script, "{beta1} {beta2} {steps}")
    phase_map = map_phases(source, steps=50, workers=0, **HOW)
    finals = [cell.finals[0] for cell in phase_map.cells.values()]
    assert finals == pytest.approx([0.02] * 4)


def test_command_that_takes_a_seed_is_not_called_unseeded(tmp_path):
    phase_map = map_phases(command(tmp_path, GOOD_ABOVE, "{beta1} {beta2} {seed}"), **HOW)
    assert "unseeded" not in phase_map.facts


def test_command_that_fails_at_its_first_run_stops_the_map(tmp_path):
    store = tmp_path / "map.sqlite"
    broken = command(tmp_path, "raise SystemExit('no data set')")
    with pytest.raises(BadInput, match=r"failed before its first loss: .*no data set") as caught:
        map_phases(broken, store=store, **HOW)
    assert caught.value.__notes__ == ["no data set"]
    with Store.reopen(store) as stored:
        assert len(stored) == 0


FAILS_LATER = """
if values[0] > 0.5 and values[1] > 0.5: raise SystemExit("out of memory")
print("loss=1", flush=True)
if values[0] > 0.5: raise SystemExit("exploded")
print("loss=0")
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_later_failures_count_as_diverged_and_are_stored(tmp_path, workers: int):
    store = tmp_path / "map.sqlite"
    source = command(tmp_path, FAILS_LATER)
    for _ in range(2):  # the second time from the store
        phase_map = map_phases(source, store=store, workers=workers, **HOW)
        assert phase_map.verdicts.tolist() == [[0, 0], [2, 2]]
        failed = phase_map.facts["failed commands"]
        assert failed.startswith(
            "exit code 1: 2 runs counted as diverged; the last line of stderr: "
        )
    with Store.reopen(store) as stored:
        failures = stored.meta.starting_with("failure of ").values()
    assert {tuple(failure["stderr"]) for failure in failures} == {("out of memory",), ("exploded",)}
    assert {failure["settings"]["beta1"] for failure in failures} == {0.99}


def test_runs_that_certainly_fail_are_ended_early(tmp_path):
    script = """
for step in range(40):
    if values[1] > 0.5: print("loss=%g" % (1 / (1 + step)))
    elif values[0] > 0.5: print("loss=%s" % ("nan" if step > 3 else "1"), flush=True)
    else: print("loss=%g" % (1 + step), flush=True)
    if step > 25 and values[1] < 0.5: time.sleep(60)
"""
    phase_map = map_phases(command(tmp_path, script, losses=40), workers=2, **HOW)
    assert phase_map.verdicts.tolist() == [[2, 0], [2, 0]]
    points = [len(cell.curve) for cell in phase_map.cells.values()]
    assert points == [20, 40, 5, 40]


def test_the_same_call_resumes_a_map_of_a_command(tmp_path):
    calls = tmp_path / "calls"
    script = f"open({str(calls)!r}, 'a').write('x'); {GOOD_ABOVE}"
    source = command(tmp_path, script)
    first = map_phases(source, store=tmp_path / "map.sqlite", **HOW)
    finer = map_phases(source, store=tmp_path / "map.sqlite", **{**HOW, "points": (2, 3)})
    assert calls.read_text() == 6 * "x"
    assert finer.trainings == 6
    assert first.verdicts[0].tolist() == finer.verdicts[0, ::2].tolist()


def test_time_limit_ends_the_commands_that_run(tmp_path):
    pids = tmp_path / "pids"
    script = f"""
open({str(pids)!r}, 'a').write(f"{{os.getpid()}} ")
print("loss=1", flush=True)
if values[0] > 0.5: time.sleep(60)
"""
    problem = as_problem(command(tmp_path, script))
    plan = plan_for(problem, **{**HOW, "seconds": 1.0})
    phase_map = run_plan(problem, plan, workers=2)
    assert phase_map.facts["ended"] == "time spent"
    assert not [pid for pid in pids.read_text().split() if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("workers", [-1, 1025])
def test_number_of_commands_at_once_is_limited(tmp_path, workers: int):
    with pytest.raises(BadInput, match=r"workers is out of range: .* expected \[0, 1024\]"):
        map_phases(command(tmp_path, GOOD_ABOVE), workers=workers, **HOW)
