"""The help texts: summaries that fit, grouped options, examples on their own lines."""

from __future__ import annotations

import re

import pytest
from commands import command_of, ended

from betaplane.cli.claims import COMMANDS as CLAIMS
from betaplane.cli.main import COMMANDS

GROUPS = {
    "map": [
        "Arguments",
        "Your own command",
        "Axes",
        "Training",
        "Where runs execute",
        "Search",
        "Output",
        "Plan",
        "Options",
    ],
    "advise": ["Run", "Devices", "Carry over", "Measurements", "Options"],
}


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_summaries_of_commands_are_not_cut(capsys):
    _, out, _ = ended("--help", capsys)
    _, _, commands = out.partition("Commands:\n")
    lines = commands.splitlines()
    assert [line.split()[0] for line in lines] == [*COMMANDS, "claims"]
    assert not [line for line in lines if line.endswith("...")]


@pytest.mark.parametrize("name", [*COMMANDS, *(f"claims {name}" for name in CLAIMS)])
def test_each_example_is_on_its_own_line(capsys, name: str):
    _, out, _ = ended(f"{name} --help", capsys)
    assert max(map(len, out.splitlines())) <= 80
    if "Examples:" in out:
        examples = re.search(r"\n  Examples:\n((?:    betaplane \S.*\n)+)\n", out)
        assert examples
        assert len(examples[1].splitlines()) >= 2


@pytest.mark.parametrize("name", GROUPS)
def test_options_are_grouped(capsys, name: str):
    _, out, _ = ended(f"{name} --help", capsys)
    assert re.findall(r"^([A-Z].*):$", out, re.MULTILINE) == GROUPS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_help_text_is_a_sentence_with_a_capital_letter(capsys, name: str):
    for param in command_of(name).params:
        text = param.help or ""
        assert text.endswith((".", ":Class.")), param.name
        assert text[0].isupper() or text.startswith(("eps ", "module:")), param.name
