"""The classes of commands: options in groups, errors that name flags, the nearest of an unknown name."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from betaplane.cli.flags import with_flags
from betaplane.errors import BadInput, unknown


class Command(TyperCommand):
    """A command whose help lists its options under the headings of their `rich_help_panel`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; an unknown option gets the sentence of all unknown names."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            raise _explained(error, self, ctx) from error

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error of the library is raised again with flags in it."""
        try:
            return super().invoke(ctx)
        except BadInput as error:
            raise with_flags(error, ctx) from error

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments first, then each group of options."""
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                groups.setdefault(_heading(param), []).append(record)
        for heading, records in groups.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


class Commands(TyperGroup):
    """The group of all commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options before the command."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            raise _explained(error, self, ctx) from error

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first argument names."""
        if args[0] not in self.commands:
            raise unknown("command", args[0], self.commands, instead="betaplane {}")
        return super().resolve_command(ctx, args)


def _explained(error: Exception, command: Any, ctx: Any) -> Exception:
    """The sentence for an error of the parser; for an unknown option, with the nearest one."""
    kinds = [kind.__name__ for kind in type(error).__mro__]  # of click, or of typer's copy of click
    if "UsageError" not in kinds or "NoArgsIsHelpError" in kinds:
        return error
    if "NoSuchOption" not in kinds:
        text: str = error.format_message().rstrip(".")  # type: ignore[attr-defined]
        return BadInput(text, instead=f"{ctx.command_path} --help")
    flags = [flag for param in command.get_params(ctx) for flag in param.opts if flag[0] == "-"]
    name: str = error.option_name  # type: ignore[attr-defined]
    return unknown("option", name, flags, where=ctx.command_path, instead="{}")


def _heading(param: Any) -> str:
    if param.param_type_name == "argument":
        return "Arguments"
    return getattr(param, "rich_help_panel", None) or "Options"
