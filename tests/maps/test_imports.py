"""Finished sweeps become maps, propose the next runs, and are continued by maps."""

from __future__ import annotations

import csv
import json
import math
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from betaplane.errors import BadInput
from betaplane.maps import OptunaBoundarySampler, Store, import_sweep, map_phases
from betaplane.maps.imports.read import read_sweep
from betaplane.maps.imports.table import read_table
from betaplane.problems import Trainer

RUNS = 60


def fails(beta1: float, beta2: float) -> bool:
    """A line in log horizons: the exact boundary of these sweeps."""
    return math.log10(1 / (1 - beta2)) < 0.5 + math.log10(1 / (1 - beta1))


def train(settings, seed):
    return [1.0, 1.5 if fails(settings["beta1"], settings["beta2"]) else 0.01]


def sweep_rows(seed: int = 0, runs: int = RUNS) -> list[dict[str, float]]:
    places = np.random.default_rng(seed).random((runs, 2)) * [2, 4]
    betas = [(1 - 10**-x, 1 - 10**-y) for x, y in places]
    return [
        {
            "beta1": b1,
            "beta2": b2,
            "lr": 0.01,
            "seed": 7,
            "final_loss": 1.5 if fails(b1, b2) else 0.01,
        }
        for b1, b2 in betas
    ]


def write_csv(path: Path, rows: list[dict]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def misjudged(phase_map) -> float:
    truth = [[fails(b1, b2) for b2 in phase_map.y.values] for b1 in phase_map.x.values]
    return float(((phase_map.verdicts == 2) != np.array(truth)).mean())


def test_final_losses_in_a_csv_become_a_map(tmp_path):
    sweep = import_sweep(write_csv(tmp_path / "sweep.csv", sweep_rows()), initial=1.0)
    phase_map = sweep.map
    assert (phase_map.problem, phase_map.x.name, phase_map.y.name) == ("sweep", "beta1", "beta2")
    assert phase_map.trainings == len(phase_map.points) == sweep.imported == RUNS
    assert phase_map.fixed["lr"] == 0.01
    assert misjudged(phase_map) < 0.06
    assert {point.verdict for point in phase_map.points} == {0, 2}
    drawn = {(point.x, point.y) for point in phase_map.points}
    assert drawn == {(row["beta1"], row["beta2"]) for row in sweep_rows()}
    assert phase_map.recommendation is not None
    assert not fails(*(phase_map.recommendation.settings[name] for name in ("beta1", "beta2")))


def test_next_runs_are_near_the_boundary_and_repeatable(tmp_path):
    file = write_csv(tmp_path / "sweep.csv", sweep_rows())
    proposed = import_sweep(file, initial=1.0).next_settings(8)
    assert proposed == import_sweep(file, initial=1.0).next_settings(8)
    away = [
        abs(math.log10((1 - s["beta1"]) / (1 - s["beta2"])) - 0.5) / math.sqrt(2) for s in proposed
    ]
    assert float(np.median(away)) < 0.3


def test_next_runs_of_a_sweep_with_one_verdict_are_far_from_its_runs(tmp_path):
    rows = [{"lr": lr, "wd": wd, "final": 0.1} for lr, wd in ((0.01, 0.01), (0.1, 0.01), (0.01, 1))]
    file = write_csv(tmp_path / "sweep.csv", rows)
    assert import_sweep(file, initial=1.0).next_settings(1) == [{"lr": 0.1, "weight_decay": 1.0}]


def curves(path: Path, suffix: str) -> Path:
    """Two runs with three logged losses each, their rows mixed, in one file."""
    rows = [
        {
            "optim.lr": lr,
            "optim.betas": "(0.9, 0.95)",
            "seed": seed,
            "step": step,
            "train_loss": loss,
        }
        for step, losses in ((2, (0.5, 7.0)), (0, (2.0, 2.5)), (1, (1.0, 5.0)))
        for (lr, seed), loss in zip(((0.1, 3), (0.2, 4)), losses, strict=True)
    ]
    file = path / f"curves{suffix}"
    if suffix == ".csv":
        return write_csv(file, rows)
    if suffix == ".parquet":
        pandas = pytest.importorskip("pandas")
        pandas.DataFrame(rows).to_parquet(file)
        return file
    nested = [{**row, "optim": {"lr": row.pop("optim.lr")}} for row in rows]
    file.write_text("\n".join(map(json.dumps, nested)))
    return file


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_logged_losses_are_curves_in_the_order_of_the_steps(tmp_path, suffix: str):
    runs = read_table(curves(tmp_path, suffix), None)
    assert [(run.settings, run.seed, run.losses, run.is_final) for run in runs] == [
        ({"lr": 0.1, "beta1": 0.9, "beta2": 0.95}, 3, (2.0, 1.0, 0.5), False),
        ({"lr": 0.2, "beta1": 0.9, "beta2": 0.95}, 4, (2.5, 5.0, 7.0), False),
    ]


@pytest.fixture
def study(tmp_path):
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = f"sqlite:///{tmp_path}/study.db"
    return optuna.create_study(study_name="mine", storage=url), url


def test_trials_of_an_optuna_study_become_a_map(study):
    optuna = pytest.importorskip("optuna")
    made, url = study

    def objective(trial):
        beta1 = trial.suggest_float("beta1", 0, 0.99)
        beta2 = 1 - 1 / trial.suggest_float("horizon2", 1, 1e4, log=True)
        trial.set_user_attr("beta2", beta2)
        if trial.number == 1:
            raise optuna.TrialPruned
        if trial.number == 2:
            raise FloatingPointError
        return train({"beta1": beta1, "beta2": beta2}, 0)[-1]

    made.optimize(objective, n_trials=20, catch=(FloatingPointError,))
    sweep = import_sweep(url, "beta1", "beta2", initial=1.0)
    assert sweep.imported == 19
    (failed,) = [run for run in read_sweep(url) if not math.isfinite(run.losses[-1])]
    assert failed.origin == "trial 2"
    assert "horizon2" in sweep.map.facts["also varied"]


def test_intermediate_values_of_trials_are_their_losses(study):
    made, url = study

    def objective(trial):
        for step, loss in enumerate((3.0, 1.0, 0.5)):
            trial.report(loss, step)
        return trial.suggest_float("lr", 0, 1)

    made.optimize(objective, n_trials=1)
    assert read_sweep(url)[0].losses == (3.0, 1.0, 0.5)


def test_boundary_sampler_spends_trials_near_the_boundary(study):
    optuna = pytest.importorskip("optuna")
    made, url = study
    made.sampler = OptunaBoundarySampler("beta1", "beta2", initial=1.0, seed=1)

    def objective(trial):
        settings = {
            "beta1": trial.suggest_float("beta1", 0, 0.99),
            "beta2": trial.suggest_float("beta2", 0, 0.9999),
        }
        trial.suggest_categorical("other", ["a", "b"])
        return train(settings, 0)[-1]

    made.optimize(objective, n_trials=40)
    betas = [(t.params["beta1"], t.params["beta2"]) for t in made.trials]
    away = [abs(math.log10((1 - b1) / (1 - b2)) - 0.5) for b1, b2 in betas]
    assert float(np.median(away[16:])) < 0.4 < float(np.median(away[:16]))
    assert len({t.params["other"] for t in made.trials}) == 2
    assert misjudged(import_sweep(url, initial=1.0).map) < 0.05
    assert isinstance(made.trials[0].state, optuna.trial.TrialState)


def test_event_files_of_tensorboard_become_runs(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    for lr, seed in ((0.1, 0), (0.01, 1)):
        folder = tmp_path / f"lr={lr},wd=0.5" / f"seed={seed}"
        with tensorboard.SummaryWriter(str(folder)) as writer:
            for step in range(3):
                writer.add_scalar("train/loss", lr * (3 - step), step)
    (tmp_path / "lr=0.1,wd=0.5" / "seed=0" / "config.json").write_text('{"betas": [0.8, 0.9]}')
    runs = sorted(read_sweep(str(tmp_path)), key=lambda run: run.seed)
    assert runs[0].settings == {"lr": 0.1, "weight_decay": 0.5, "beta1": 0.8, "beta2": 0.9}
    assert runs[0].losses == pytest.approx((0.3, 0.2, 0.1))
    assert (runs[1].settings, runs[1].seed) == ({"lr": 0.01, "weight_decay": 0.5}, 1)


@pytest.mark.parametrize("how", [{"trainings": 40, "seeds": 1}, {"dense": True, "seeds": 1}])
def test_map_continues_from_an_imported_store(tmp_path, how):
    store = tmp_path / "sweep.sqlite"
    import_sweep(write_csv(tmp_path / "sweep.csv", sweep_rows()), initial=1.0, store=store)
    calls = []

    def counted(settings, seed):
        calls.append(settings)
        return train(settings, seed)

    trainer = Trainer("mine", counted, defaults={"lr": 0.01})
    options = {"points": 16, "workers": 0, "store": store, "search_lr": False, **how}
    phase_map = map_phases(trainer, **options)
    trained = len(calls)
    if how.get("dense"):
        assert 16 * 16 - RUNS <= trained < 16 * 16 - RUNS // 2
    else:
        assert trained <= 40
        assert misjudged(phase_map) < 0.06
    assert phase_map.trainings >= trained + 30
    with Store.reopen(store) as stored:
        assert stored.problem == "mine"
        assert len(stored) == RUNS + trained
    assert len(calls) == trained
    map_phases(trainer, **options)  # the same call resumes
    assert len(calls) == trained


def test_imported_runs_with_another_fixed_setting_are_left_out(tmp_path):
    store = tmp_path / "sweep.sqlite"
    import_sweep(write_csv(tmp_path / "sweep.csv", sweep_rows()), initial=1.0, store=store)
    trainer = Trainer("mine", train, defaults={"lr": 0.5})
    options = {"points": 4, "dense": True, "seeds": 1, "workers": 0, "search_lr": False}
    assert map_phases(trainer, store=store, **options).trainings == 16


def test_importing_twice_adds_nothing(tmp_path):
    file, store = write_csv(tmp_path / "sweep.csv", sweep_rows()), tmp_path / "sweep.sqlite"
    assert import_sweep(file, initial=1.0, store=store).imported == RUNS
    again = import_sweep(file, initial=1.0, store=store)
    assert (again.imported, again.map.trainings) == (0, RUNS)


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("a.csv", "lr,wd,final\n0.1,1,2\n0.2,2,1\n", {}, "loss before training is not known"),
        ("a.csv", "lr,wd,acc\n0.1,1,2\n", {}, "no column of losses: got 'lr, wd, acc'"),
        (
            "a.csv",
            "lr,wd,final\n0.1,1,2\n",
            {"loss": "fina"},
            "no column 'fina'.*Try: loss=\"final\"",
        ),
        ("a.csv", "lr,wd,final\n0.1,1,\n", {}, "No row of the table has a loss"),
        ("a.csv", "lr,wd,final\n", {}, "The table has no rows"),
        (
            "a.csv",
            "lr,wd,final\n0.1,1,2\n0.2,1,1\n",
            {"initial": 1.0},
            "needs two settings that vary",
        ),
        ("a.jsonl", "{", {}, "The table is not JSON Lines"),
        ("a.parquet", "no", {}, "The file is not Parquet"),
        ("a.txt", "no", {}, "The file is not a sweep: got .*a.txt"),
    ],
)
def test_bad_sweep_is_refused_in_one_sentence(tmp_path, name, text, options, message: str):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=message):
        import_sweep(tmp_path / name, store=tmp_path / "store.sqlite", **options)
    if options.get("initial") is None:
        assert not (tmp_path / "store.sqlite").exists()


def test_study_that_does_not_exist_is_refused(study):
    _, url = study
    with pytest.raises(BadInput, match=r"Unknown study 'min'\. Did you mean 'mine'"):
        import_sweep(url, study="min")
    with pytest.raises(BadInput, match="The study cannot be read"):
        import_sweep("nosuch://study")


def test_database_that_does_not_exist_is_not_created(tmp_path):
    pytest.importorskip("optuna")
    path = tmp_path / "study.db"
    with pytest.raises(BadInput, match="The database of the study does not exist"):
        import_sweep(f"sqlite:///{path}")
    assert not path.exists()


@pytest.mark.parametrize("count", [0, 1001, 2.5])
def test_number_of_next_runs_is_checked(tmp_path, count):
    sweep = import_sweep(write_csv(tmp_path / "sweep.csv", sweep_rows()), initial=1.0)
    with pytest.raises(BadInput, match="number of runs is out of range"):
        sweep.next_settings(count)


SWEEPS = Path(__file__).parents[1] / "data" / "sweeps"  # written by make.py in that folder


@pytest.mark.parametrize("kind", ["mlruns", "mlflow.db", "sqlite:///mlflow.db", "wandb"])
def test_runs_of_trackers_are_read_without_their_packages(tmp_path, monkeypatch, kind: str):
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect("mlflow.db")) as db:
        db.executescript((SWEEPS / "mlflow.sql").read_text())
    source = kind if "mlflow.db" in kind else str(SWEEPS / kind)
    runs = sorted(read_sweep(source, loss="train/loss"), key=lambda run: run.seed)
    betas = {"beta1": 0.9, "beta2": 0.95}
    assert [(run.settings, run.seed) for run in runs] == [
        ({"lr": 0.1, **betas}, 3),
        ({"lr": 0.2, **betas}, 4),
    ]
    assert [str(run.losses) for run in runs] == ["(2.0, 1.0, 0.5)", "(2.5, 5.0, nan)"]
    assert not {"mlflow", "wandb"} & {name.partition(".")[0] for name in sys.modules}
    with pytest.raises(BadInput, match="There is no run with a loss"):
        read_sweep(source, loss="perplexity")
