"""The class of all commands: options in groups, and errors that name flags."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from betaplane.cli.flags import with_flags
from betaplane.errors import BadInput


class Command(TyperCommand):
    """A command whose help lists its options under the headings of their `rich_help_panel`."""

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


def _heading(param: Any) -> str:
    if param.param_type_name == "argument":
        return "Arguments"
    return getattr(param, "rich_help_panel", None) or "Options"
