"""The notes about settings: their form, and the command that prints them."""

import json

import pytest

from betaplane.advice import notes
from betaplane.advice.evidence import VERIFIED
from betaplane.cli.main import main


@pytest.mark.parametrize("note", notes(), ids=lambda note: f"{note.setting}: {note.text[:30]}")
def test_a_note_has_a_source(note):
    assert note.setting in ("beta1", "beta2", "eps", "rule")
    assert note.text.endswith(".")
    assert note.source
    assert note.verified in VERIFIED


def test_advise_prints_the_notes(capsys):
    with pytest.raises(SystemExit) as end:
        main(["advise", "--notes", "--json"])
    assert not end.value.code
    assert len(json.loads(capsys.readouterr().out)) == len(notes())
    with pytest.raises(SystemExit):
        main(["advise", "--notes"])
    assert all(note.source.split(",")[0] in capsys.readouterr().out for note in notes()[:1])
