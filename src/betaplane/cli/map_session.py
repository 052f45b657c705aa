"""One call of `betaplane map`: from options to a plan, from the map to files and a terminal."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TextIO

import torch
from rich.console import Console

from betaplane import figures
from betaplane.cached import cached_property
from betaplane.cli.default_store import default_store
from betaplane.cli.files import make_folder
from betaplane.cli.map_files import write_map
from betaplane.cli.map_plan import PlanRequest, write_cost
from betaplane.cli.map_progress import announcement, progress_bar
from betaplane.cli.parse import rule as rule_of
from betaplane.cli.status import is_elsewhere, print_status
from betaplane.errors import BadInput, unknown
from betaplane.maps import (
    Estimate,
    PhaseMap,
    Plan,
    Thresholds,
    map_cost,
    plan_for,
    run_plan,
    to_json,
)
from betaplane.maps import Progress as Done
from betaplane.maps.resources import store_of
from betaplane.problems import Command, Problem
from betaplane.problems.source import as_problem
from betaplane.replicas import ENGINES, Options
from betaplane.rules import Rule
from betaplane.text import plural

PROBLEM_OPTIONS = ("schedule", "warmup", "order")
RULE_OPTIONS = ("beta1", "beta2", "eps", "weight_decay")
RESUME_HINTS = {
    "time spent": "Time limit reached. Rerun the same command to continue.",
    "trainings spent": "Maximum number of runs reached. Rerun with more --trainings to continue.",
}


class MapSession:
    """The problem, the rule, the store and the output of one call."""

    def __init__(
        self,
        source: str | Command,
        data: Path | None,
        rule: str,
        hyperparameters: dict[str, Any],
        out: Path,
        store: Path | None,
        as_json: bool,
        result: TextIO,
    ) -> None:
        source = _with_data(source, data)
        self.problem = as_problem(source)
        self.reference = (
            source if isinstance(source, str) else f"--command {shlex.quote(str(source.command))}"
        )
        self.hyperparameters = hyperparameters
        self.out = out
        self.as_json = as_json
        self.result = result
        self.rule = self._rule(rule)
        self.changes: dict[str, Any] = {}
        if isinstance(self.problem, Problem):
            self.changes = {
                name: hyperparameters[name] for name in PROBLEM_OPTIONS if name in hyperparameters
            }
            self.problem = self.problem.with_(**self.changes)
        self.own_store = store
        self.console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

    @cached_property
    def store(self) -> Path:
        """The file of finished runs."""
        return self.own_store or default_store(self.problem, self.out)

    def _rule(self, name: str) -> Rule:
        """The rule with the hyperparameters from the command line."""
        rule = rule_of(name)
        rule_class = type(rule)
        own = {
            f.name: self.hyperparameters[f.name]
            for f in fields(rule_class)
            if f.name in self.hyperparameters
        }
        for foreign in RULE_OPTIONS:
            if foreign in self.hyperparameters and foreign not in own:
                raise BadInput(
                    f"{rule_class.__name__} has no {foreign}",
                    value=self.hyperparameters[foreign],
                    allowed=", ".join(rule_class.hyperparameters()),
                    where=foreign,
                    instead='rule="adam"',
                )
        return replace(rule, **own)

    def plan(
        self,
        x: tuple,
        y: tuple,
        points: tuple[int, int],
        how: dict[str, Any],
        options: dict[str, Any],
        limits: tuple[float, float],
    ) -> Plan:
        """The plan that the options describe.

        Args:
            x: name, low, high and scale of the horizontal axis.
            y: of the vertical axis.
            points: cells along x and y.
            how: fields of the plan, and the scale of axes that give none.
            options: fields of `betaplane.replicas.Options`.
            limits: scores below which a cell is good and above which it fails.
        """
        engines = ("auto", *ENGINES[:2])
        if how["engine"] not in engines:
            raise unknown("engine", how["engine"], engines, where="engine", instead='engine="{}"')
        own = {name: self.hyperparameters.get(name) for name in ("lr", "batch_size", "steps")}
        return plan_for(
            self.problem,
            x,
            y,
            points,
            rule=self.rule,
            thresholds=Thresholds(*limits),
            options=Options(**options),
            **own,
            **how,
        )

    def check_betas(self, plan: Plan, own_betas: dict[str, float] | None, strict: bool) -> None:
        """Warn about a fixed setting whose |m| / sqrt(v) is unbounded; reject it if `strict`."""
        fixed = {**plan.fixed, **(own_betas or {})}
        b1, b2 = fixed.get("beta1"), fixed.get("beta2")
        if not b1 or b2 is None or b1 < math.sqrt(b2):
            return
        growth = b1 / math.sqrt(b2) if b2 > 0 else math.inf
        better = max(0.999, b1)  # b1 < sqrt(b1)
        error = BadInput(
            "beta1 >= sqrt(beta2): |m| / sqrt(v) has no bound and can grow by a factor "
            f"{growth:.4g} per step",
            value=(b1, b2),
            allowed="beta1 < sqrt(beta2)",
            where="--betas" if own_betas else "--beta1, --beta2",
            instead=f"--betas {b1},{better}" if own_betas else f"--beta1 {b1} --beta2 {better}",
        )
        if strict:
            raise error
        self._warn(str(error))

    def merge(self, others: list[Path]) -> None:
        """Copy the finished runs of other stores into this one."""
        for other in others:
            with store_of(self.problem, self.store) as store:
                merged = plural(store.merge(other), "run")
                self.console.print(f"merged {merged} from {other} into {self.store}")
                if store.damaged:
                    self._warn(f"{plural(store.damaged, 'damaged run')} skipped.")

    def status(self) -> None:
        """Print what the store contains."""
        if not self.store.exists():
            raise BadInput(
                "The store does not exist yet",
                value=str(self.store),
                where="--status",
                instead=f"betaplane map {self.reference}",
            )
        if not is_elsewhere(self.store):
            with store_of(self.problem, self.store):
                pass  # it has runs of this problem
        print_status(self.store, self.as_json, self.result)

    def cost(self, plan: Plan, request: PlanRequest, place: Mapping[str, Any]) -> None:
        """Print what the map will cost; nothing is written."""
        request.check_place(place)
        _check_device(plan.options.device)
        with self.console.status("measuring"):
            cost = map_cost(
                self.problem,
                plan,
                workers=place["workers"],
                store=self.store,
                run_seconds=request.run_seconds,
            )
        write_cost(cost, plan, self.problem.name, request, self.as_json, self.result)

    def map(self, plan: Plan, own_betas: dict[str, float] | None, place: Mapping[str, Any]) -> None:
        """Train, write the picture and the page, print the map and the recommendation.

        Args:
            plan: what is trained.
            own_betas: the user's setting, to be marked.
            place: where the runs execute: arguments of `run_plan`.
        """
        on_this_machine = place["executor"] in (None, "local")
        # a function or a command uses the GPU that it sees by itself
        if on_this_machine and (isinstance(self.problem, Problem) or place["gpus"] is None):
            _check_device(plan.options.device)
        make_folder(self.out)
        bar = progress_bar(self.console)
        task = bar.add_task("runs", speed="")
        with ExitStack() as displays:
            preparing = displays.enter_context(self.console.status("preparing"))

            def begin(estimate: Estimate) -> None:
                preparing.stop()
                self.console.print(announcement(estimate, plan))
                bar.update(task, total=estimate.trainings)
                displays.enter_context(bar)

            def watch(state: Done) -> None:
                speed = f"{state.rate:.1f}/s"
                bar.update(task, completed=state.done, total=state.wanted, speed=speed)

            phase_map = run_plan(
                self.problem,
                plan,
                store=self.store,
                changes=self.changes,
                settings=own_betas,
                begin=begin,
                watch=watch,
                **place,
            )
        self._write(phase_map)

    def _write(self, phase_map: PhaseMap) -> None:
        stem = self.problem.name if self.own_store else self.store.stem
        axes = f"{phase_map.x.name}-{phase_map.y.name}"
        files, error = write_map(phase_map, self.out, f"{stem}-{axes}")
        files["store"] = str(self.store)
        if self.as_json:
            print(
                json.dumps({**to_json(phase_map), "files": [*files.values()]}, indent=2),
                file=self.result,
            )
        else:
            console = Console(file=self.result, highlight=False, markup=False)
            console.print(figures.terminal(phase_map))
            console.print(figures.summary(phase_map))
            for name, path in files.items():
                console.print(f"{name:>8}  {path}", soft_wrap=True)
        for fact in ("unseeded", "failed commands", "settings without effect"):
            if text := phase_map.facts.get(fact):
                self._warn(f"{text}.")
        if damaged := phase_map.facts.get("damaged runs"):
            self._warn(f"damaged runs: {damaged}.")
        if hint := RESUME_HINTS.get(phase_map.facts["ended"]):
            self.console.print(hint)
        if error:
            raise error

    def _warn(self, text: str) -> None:
        self.console.print(f"Warning: {text}", style="yellow")


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise BadInput(
            "The device is not available",
            value=device,
            allowed="cpu, or cuda if there is one",
            where="device",
            instead='device="cpu"',
        ) from None


def _with_data(reference: str | Command, data: Path | None) -> str | Command:
    """The problem's reference with the user's data folder or file as its option."""
    if data is None:
        return reference
    if not isinstance(reference, str) or ".py" in reference:
        raise BadInput(
            "A problem of your own reads its own data",
            value=str(data),
            allowed="a built-in problem that reads data: mnist, text",
            where="data",
            instead=f"betaplane map {reference}" if isinstance(reference, str) else "",
        )
    option = "path" if reference.startswith("text") else "data"
    return f"{reference}{',' if ':' in reference else ':'}{option}={data}"
