"""Extension of Griffe: read a docstring's section `Example:` as its section `Examples:`, which has highlighted code."""

from __future__ import annotations

import re
from typing import Any

import griffe

TITLE = re.compile(r"^( *)Example:$", re.MULTILINE)


class ExampleSections(griffe.Extension):
    """Rename the section in every docstring that is loaded."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = TITLE.sub(r"\1Examples:", obj.docstring.value)
