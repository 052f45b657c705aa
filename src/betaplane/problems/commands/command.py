"""`Command`: a training script, in any language, as a problem."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from betaplane.cached import cached_property
from betaplane.errors import BadInput, expect
from betaplane.problems.commands.command_run import RUN, CommandRun
from betaplane.problems.commands.loss_source import LossSource, parse_loss_source
from betaplane.problems.commands.template import arguments, as_text, check_known, fill, placeholders

SHELL = "/bin/sh"
# suffixes of the files whose contents identify a command
SCRIPTS = {".py", ".sh", ".bash", ".R", ".jl", ".pl", ".rb", ".lua", ".js", ".yaml", ".yml",
           ".toml"}  # fmt: skip
SCRIPT = "python train.py --beta2 {beta2} --lr {lr} --seed {seed}"
EXAMPLE = f'Command("{SCRIPT}", loss=...)'


@dataclass(frozen=True)
class Command:
    r"""A training script as a problem: it takes settings as arguments and logs its losses.

    The log is followed while the command runs. A run whose loss is not finite is ended, with every
    process that it started: SIGTERM, and SIGKILL five seconds later. A run that exits with an
    error after it logged losses counts as diverged.

    The settings are also in the environment of the command, as BETAPLANE_BETA2, BETAPLANE_SEED and
    so on, and the folder of the run as BETAPLANE_RUN. Otherwise the command runs as in your
    terminal: in the current directory, without a shell, with PYTHONUNBUFFERED=1 so that the lines
    of a Python script arrive when they are printed.

    Args:
        command: the command line, with placeholders: {beta1}, {beta2}, {lr}, {eps}, {weight_decay},
            {batch_size}, {seed}, {steps}, {run} (a new folder for each run), and hyperparameters of
            your own that an axis varies. The text is split before values are put in, so that a
            value is never split. {{name}} stands for the text {name}.
        loss: where the losses are: "stdout:REGEX" or "stderr:REGEX" (the group named loss, or the
            first one, is the number), "jsonl:PATH:FIELD", "csv:PATH:COLUMN", "tensorboard:DIR:TAG",
            "hf:DIR" (a folder with Hugging Face's trainer_state.json). Paths may contain
            placeholders.
        name: name on maps and in the store; by default that of the script.
        timeout: seconds after which a run is ended; it then counts as diverged. None: no limit.
        losses: number of losses that a run logs, if it is known: runs that stay above their first
            loss are then ended halfway.
        best: the smallest possible loss, or None if it is not known.
        shell: run the command with /bin/sh. Values are quoted.
        reads_environment: the script reads settings from the environment, so that the command need
            not mention them.
        environment: variables to set, or to remove (None).
        runs: folder that keeps the folders of the runs. None: they are temporary, and each is
            removed at the end of its run.

    Example:
        >>> import sys
        >>> script = "print('loss=2.0'); print('loss=0.5')"
        >>> command = Command([sys.executable, "-c", script], loss=r"stdout:loss=(\S+)")
        >>> list(command({"beta2": 0.99}, seed=0))
        [2.0, 0.5]
    """

    command: str | Sequence[str]
    loss: str
    name: str = ""
    timeout: float | None = None
    losses: int | None = None
    best: float | None = None
    shell: bool = False
    reads_environment: bool = False
    environment: Mapping[str, str | None] = field(default_factory=dict)
    runs: str | Path | None = None

    def __post_init__(self) -> None:
        expect(self.command, (str, list, tuple), "command", EXAMPLE)
        expect(self.loss, str, "loss", 'loss="jsonl:{run}/log.jsonl:loss"')
        _check_command(self)
        for name in ("timeout", "losses"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                what, instead = f"{name} is out of range", f"{name}=100"
                raise BadInput(what, value=value, allowed="(0, inf)", where=name, instead=instead)
        object.__setattr__(self, "name", self.name or _name(self.parts))
        parse_loss_source(self.loss)

    def __call__(self, settings: Mapping[str, float], seed: int) -> CommandRun:
        """Start a run; iterate over it for its losses, and close it to end it."""
        values = {name: as_text(name, value) for name, value in settings.items()}
        return CommandRun(self, {**values, "seed": str(seed)})

    @property
    def parts(self) -> list[str]:
        """The program and its arguments, with placeholders."""
        if not isinstance(self.command, str):
            return [str(part) for part in self.command]
        return shlex.split(self.command, comments=False)

    @cached_property
    def source(self) -> LossSource:
        """Where the losses are."""
        return parse_loss_source(self.loss)

    @property
    def folder(self) -> Path | None:
        """The folder that keeps the folders of the runs."""
        return None if self.runs is None else Path(self.runs).expanduser()

    @property
    def mentioned(self) -> list[str]:
        """The settings that the command mentions."""
        names = [name for part in self.parts for name in placeholders(part)]
        return list(dict.fromkeys([*names, *self.source.placeholders]))

    def uses(self, setting: str) -> bool:
        """Whether the command can depend on a setting, as far as is known."""
        return self.reads_environment or setting in self.mentioned

    def arguments(self, values: Mapping[str, str]) -> list[str]:
        """The program and its arguments for these values."""
        if self.shell:
            text = self.command if isinstance(self.command, str) else shlex.join(self.command)
            return [SHELL, "-c", fill(text, values, shlex.quote)]
        return arguments(self.parts, values)

    def log_path(self, values: Mapping[str, str]) -> Path:
        """The path of the log for these values."""
        return Path(fill(self.source.path, values)).expanduser()

    def variables(self, values: Mapping[str, str]) -> dict[str, str]:
        """The environment of the command for these values."""
        own = {_variable(name): value for name, value in values.items()}
        changes = {"PYTHONUNBUFFERED": os.environ.get("PYTHONUNBUFFERED", "1"), **self.environment}
        every = {**os.environ, **changes, **own, RUN: values["run"]}
        return {name: value for name, value in every.items() if value is not None}

    def fingerprint(self) -> str:
        """A digest of what is run: the command, its loss, and the scripts that it names."""
        digest = hashlib.sha256(repr((self.command, self.loss, self.shell)).encode())
        for path in map(Path, self.parts):
            if path.suffix in SCRIPTS and path.is_file():
                digest.update(path.read_bytes())
        return digest.hexdigest()

    def check_settings(self, known: Sequence[str], used: Sequence[str]) -> None:
        """Check that each placeholder is a setting, and that the command mentions what is varied.

        Args:
            known: the settings that have a value.
            used: those that a map varies or sets.

        Raises:
            BadInput: a placeholder is no setting, or a setting is not mentioned.
        """
        for name in self.mentioned:
            check_known(name, [*known, "seed", "run"])
        for name in used:
            if not self.uses(name):
                raise BadInput(
                    f"The command never mentions {name}, so every value would train the same",
                    value=self.command,
                    allowed=f"{{{name}}}, or `reads_environment` if the script reads "
                    f"{_variable(name)}",
                    where="command",
                    instead=f"--{name.replace('.', '-')} {{{name}}}  # in the command",
                )


def _variable(name: str) -> str:
    """The variable in the environment of a command that has a setting: BETAPLANE_EMBEDDING_LR."""
    return f"BETAPLANE_{name.upper().replace('.', '_')}"


def _check_command(command: Command) -> None:
    try:
        parts = command.parts
    except ValueError as error:
        raise BadInput(
            f"The command cannot be split into arguments ({error})",
            value=command.command,
            allowed="balanced quotes",
            where="command",
        ) from None
    if not parts:
        raise BadInput("The command is empty", where="command", instead=f'command="{SCRIPT}"')


def _name(parts: Sequence[str]) -> str:
    """The name of the script: the first argument with a suffix, or else the program."""
    scripts = [Path(part) for part in parts if Path(part).suffix in SCRIPTS]
    return scripts[0].stem if scripts else Path(parts[0]).name
