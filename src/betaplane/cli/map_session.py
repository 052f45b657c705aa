"""One call of `betaplane map`: from the words to a plan, from the map to files and a terminal."""

from __future__ import annotations

import json
import math
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TextIO

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from betaplane import figures
from betaplane.cli.files import file_name, make_folder, write_each
from betaplane.cli.parse import rule as rule_of
from betaplane.errors import BadInput
from betaplane.maps import Estimate, PhaseMap, Plan, Thresholds, follow, plan_for, to_json
from betaplane.maps import Progress as Done
from betaplane.maps.mapper import store_of
from betaplane.problems import Problem, load
from betaplane.replicas import ENGINES, Options
from betaplane.rules import Rule


class Session:
    """What one call shares: the problem, where files go, and who reads the output."""

    def __init__(
        self,
        reference: str,
        data: Path | None,
        rule: str,
        given: dict[str, Any],
        out: Path,
        store: Path | None,
        as_json: bool,
        result: TextIO,
    ) -> None:
        self.reference = _with_data(reference, data)
        self.problem = load(self.reference)
        self.given, self.out, self.as_json, self.result = given, out, as_json, result
        self.rule = self._rule(rule)
        own = {
            name: value for name, value in given.items() if name in ("schedule", "warmup", "order")
        }
        self.changes = own if isinstance(self.problem, Problem) else {}
        if isinstance(self.problem, Problem):
            self.problem = self.problem.with_(**self.changes)
        self.store = store or out / f"{file_name(self.problem.name)}.sqlite"
        self.console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

    def _rule(self, name: str) -> Rule:
        rule = rule_of(name)
        kind = type(rule)
        own = {f.name: self.given[f.name] for f in fields(kind) if f.name in self.given}
        foreign = [
            n for n in ("beta1", "beta2", "eps", "weight_decay") if n in self.given and n not in own
        ]
        if foreign:
            raise BadInput(
                f"{kind.__name__} has no {foreign[0]}",
                value=self.given[foreign[0]],
                allowed=", ".join(kind.hyperparameters()),
                where=f"--{foreign[0].replace('_', '-')}",
                instead="--rule adam",
            )
        return replace(rule, **own)

    def plan(
        self,
        x: tuple,
        y: tuple,
        how: dict[str, Any],
        options: dict[str, Any],
        limits: tuple[float, float],
    ) -> Plan:
        """The plan the words amount to."""
        if how["engine"] not in ("auto", *ENGINES[:2]):
            raise BadInput(
                "There is no such engine",
                value=how["engine"],
                allowed="auto, stacked, plain",
                where="--engine",
                instead="--engine auto",
            )
        try:
            torch.empty(0, device=options["device"])
        except (RuntimeError, AssertionError):
            raise BadInput(
                "There is no such device here",
                value=options["device"],
                allowed="cpu, or cuda where there is one",
                where="--device",
                instead="--device cpu",
            ) from None
        own = {name: self.given.get(name) for name in ("lr", "batch_size", "steps")}
        return plan_for(
            self.problem,
            x[:3],
            y[:3],
            (x[3], y[3]),
            rule=self.rule,
            thresholds=Thresholds(*limits),
            options=Options(**options),
            **own,
            **how,
        )

    def check_betas(self, plan: Plan, mine: dict[str, float] | None, strict: bool) -> None:
        """Warn of, or refuse, a fixed setting whose |m| / sqrt(v) is unbounded."""
        fixed = {**plan.fixed, **(mine or {})}
        b1, b2 = fixed.get("beta1"), fixed.get("beta2")
        if not b1 or b2 is None or b1 < math.sqrt(b2):
            return
        rate = b1 / math.sqrt(b2) if b2 > 0 else math.inf
        better = max(0.999, b1)  # b1 < sqrt(b1)
        told = BadInput(
            f"beta1 >= sqrt(beta2): |m| / sqrt(v) has no bound and can grow by a factor {rate:.4g} a step",
            value=(b1, b2),
            allowed="beta1 < sqrt(beta2)",
            where="--betas" if mine else "--beta1, --beta2",
            instead=f"--betas {b1},{better}" if mine else f"--beta1 {b1} --beta2 {better}",
        )
        if strict:
            raise told
        self.console.print(f"Warning: {told}", style="yellow")

    def merge(self, others: list[Path]) -> None:
        """Copy the finished trainings of other stores into this one."""
        for other in others:
            with store_of(self.problem, self.store) as store:
                self.console.print(
                    f"merged {store.merge(other)} trainings from {other} into {self.store}"
                )
                if store.damaged:
                    self.console.print(
                        f"Warning: {store.damaged} damaged trainings were skipped.", style="yellow"
                    )

    def status(self) -> None:
        """Tell what the store holds."""
        if not self.store.exists():
            raise BadInput(
                "There is no store yet",
                value=str(self.store),
                where="--status",
                instead=f"betaplane map {self.reference}",
            )
        with store_of(self.problem, self.store) as store:
            now = store.status()
        told = {
            "store": str(now.path),
            "problem": now.problem,
            "trainings": now.runs,
            "under way": now.claimed_alive,
            "left by dead processes": now.claimed_dead,
            "seconds of training": round(now.seconds, 1),
            "created": now.created.isoformat(timespec="seconds"),
            **now.versions,
        }
        if self.as_json:
            print(json.dumps(told, indent=2), file=self.result)
        else:
            for name, value in told.items():
                print(f"{name:>24}  {value}", file=self.result)

    def map(self, plan: Plan, mine: dict[str, float] | None, workers: int | None) -> None:
        """Train, write the picture and the page, show the map and the recommendation."""
        make_folder(self.out)
        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
        ]
        bar = Progress(*columns, console=self.console)
        task = bar.add_task("trainings", speed="")
        with ExitStack() as shown:
            ready = shown.enter_context(self.console.status("getting ready"))

            def begin(estimate: Estimate) -> None:
                ready.stop()
                self.console.print(_told(estimate, plan))
                bar.update(task, total=estimate.trainings)
                shown.enter_context(bar)

            def watch(done: Done) -> None:
                bar.update(task, completed=done.done, total=done.wanted, speed=f"{done.rate:.1f}/s")

            phase_map = follow(
                self.problem,
                plan,
                store=self.store,
                changes=self.changes,
                workers=workers,
                settings=mine,
                begin=begin,
                watch=watch,
            )
        self._write(phase_map)

    def _write(self, phase_map: PhaseMap) -> None:
        stem = file_name(f"{phase_map.problem}-{phase_map.x.name}-{phase_map.y.name}")
        picture, page = self.out / f"{stem}.png", self.out / f"{stem}.html"
        contents = {picture: figures.png(phase_map), page: figures.html(phase_map).encode()}
        written, failed = write_each(contents)
        files = {"picture": picture, "page": page, "store": self.store}
        files = {
            what: str(path) for what, path in files.items() if path in written or path == self.store
        }
        if self.as_json:
            print(
                json.dumps({**to_json(phase_map), "files": [*files.values()]}, indent=2),
                file=self.result,
            )
        else:
            console = Console(file=self.result, highlight=False, markup=False)
            console.print(figures.terminal(phase_map))
            console.print(figures.summary(phase_map))
            for what, path in files.items():
                console.print(f"{what:>8}  {path}", soft_wrap=True)
        if damaged := phase_map.facts.get("damaged runs"):
            self.console.print(f"Warning: damaged runs: {damaged}.", style="yellow")
        if more := TO_GO_ON.get(phase_map.facts["ended"]):
            self.console.print(more)
        if failed:
            raise failed


TO_GO_ON = {
    "time spent": "The time is spent: the same command goes on from here.",
    "trainings spent": "The trainings are spent: with more of them (--trainings) it goes on from here.",
}


def _told(estimate: Estimate, plan: Plan) -> str:
    nx, ny = plan.shape
    text = f"{nx} x {ny} cells, about {estimate.trainings} trainings of {plan.steps} steps"
    if estimate.stored:
        text += f"; the store holds {estimate.stored}"
    if estimate.speeds is not None:
        s = estimate.speeds
        speeds = f"stacked {s.stacked:,.0f}, plain {s.plain:,.0f}"
        text += f"\nengine: {estimate.engine} (run-steps a second, one core: {speeds})"
        text += f"; about {estimate.seconds:.0f} s" if math.isfinite(estimate.seconds) else ""
        text += f"\nnot stacked, because {s.note}" if s.note else ""
    return text


def _with_data(reference: str, data: Path | None) -> str:
    """The reference with the user's data folder or file as its option."""
    if data is None:
        return reference
    if ".py" in reference:
        raise BadInput(
            "A problem of your own reads its data by itself",
            value=str(data),
            allowed="a built-in problem that reads data: mnist, text",
            where="--data",
            instead=f"betaplane map {reference}",
        )
    return f"{reference}{',' if ':' in reference else ':'}{'path' if reference.startswith('text') else 'data'}={data}"
