"""The terminal map reads the same with color, without, and in ASCII."""

from __future__ import annotations

import io

import pytest
import torch
from examples import ALL, bulge
from rich.console import Console

from betaplane.figures import summary, terminal
from betaplane.figures._torch_line import torch_line
from betaplane.figures.terminal import ASCII_GLYPHS, GLYPHS


def printed(phase_map, width: int = 100, encoding: str = "utf-8", **options) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    console = Console(file=file, width=width, legacy_windows=False, **options)
    console.print(terminal(phase_map))
    console.print(summary(phase_map))
    file.flush()
    return raw.getvalue().decode(encoding)


def test_without_color_every_glyph_and_no_codes():
    text = printed(bulge(), color_system=None)
    assert "\x1b" not in text
    for symbol in (*GLYPHS, "★", "a (0.9, 0.999)", "0.999", "1,000"):
        assert symbol in text


def test_with_color_the_glyphs_are_the_same():
    colored = printed(bulge(), force_terminal=True, color_system="truecolor")
    assert "\x1b[" in colored
    assert sum(colored.count(glyph) for glyph in GLYPHS) == sum(
        printed(bulge(), color_system=None).count(glyph) for glyph in GLYPHS
    )


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("width", [100, 60, 40])
def test_it_fits(name, width):
    lines = printed(ALL[name](), width, color_system=None).splitlines()
    assert max(map(len, lines)) <= width


def test_64_cells_are_as_wide_as_high_and_the_worst_is_shown():
    text = printed(ALL["dense64"](), color_system=None)
    rows = [line for line in text.splitlines() if sum(line.count(glyph) for glyph in GLYPHS) > 60]
    assert len(rows) == 32
    assert "the worst of 1 x 2 cells" in text


def test_ascii_terminals_get_ascii():
    text = printed(bulge(), encoding="ascii", color_system=None)
    assert all(glyph in text for glyph in ASCII_GLYPHS)
    assert "beta2 0.9963" in text


def test_nothing_to_recommend_is_said():
    text = printed(ALL["all_failing"](), color_system=None)
    assert "nothing to recommend" in text
    assert "★" not in text


def test_the_summary_has_the_line_to_paste():
    text = printed(bulge(), 120, color_system=None)
    assert (
        "torch.optim.Adam(model.parameters(), lr=0.01, betas=(0.98508, 0.996325), eps=1e-08)"
        in text
    )
    assert "failing" in text
    assert "decades" in text


@pytest.mark.parametrize("name", [name for name in ALL if name != "all_failing"])
def test_torch_takes_the_line(name):
    phase_map = ALL[name]()
    assert phase_map.recommendation is not None
    line = torch_line(phase_map)
    made = eval(line, {"torch": torch, "model": torch.nn.Linear(1, 1)})
    wanted = {**phase_map.fixed, **phase_map.recommendation.settings}
    assert made.defaults["betas"] == pytest.approx((wanted["beta1"], wanted["beta2"]))
    assert made.defaults["lr"] == wanted["lr"]
    assert made.defaults["weight_decay"] == wanted.get("weight_decay", 0)
