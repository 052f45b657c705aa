"""Every code block of every page in docs/ runs, in an empty folder for each page, and prints what
the page shows.

`make docs` builds the site with its generated pages, and finds dead links.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tools.site import rule_pages
from tools.site.blocks import PAGES, blocks, run_blocks
from tools.site.theory_plots import closed_forms, plot_of, result_at
from tools.site.theory_special import SPECIAL

from betaplane.rules import ALL
from betaplane.rules.sgd import SGD

ROOT = Path(__file__).resolve().parents[2]
WITH_CODE = [page for page in PAGES if blocks(page.read_text())]
SLOW = [
    page for page in WITH_CODE if any(block.mark == "slow" for block in blocks(page.read_text()))
]


def name(page: Path) -> str:
    return page.relative_to(ROOT / "docs").as_posix()


def check_page(page: Path, folder: Path, slow: bool) -> None:
    with torch.random.fork_rng():
        for block, printed in run_blocks(page.read_text(), folder, slow):
            if block.output is not None and not block.may_differ:
                assert printed == block.output, (
                    f"{page}: run `python -m tools.site.blocks {page}` and read the change"
                )


@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_page_prints_what_it_shows(page: Path, tmp_path: Path) -> None:
    check_page(page, tmp_path, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW, ids=name)
def test_slow_page_prints_what_it_shows(page: Path, tmp_path: Path) -> None:
    check_page(page, tmp_path, slow=True)


def test_page_that_shows_another_output_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```output\n2\n```\n")
    with pytest.raises(AssertionError, match="read the change"):
        check_page(page, tmp_path, slow=False)


class Unlisted(SGD):
    """A rule that is not in the registry.

    ```
    x = x - lr g
    ```

    Source: this test.
    """


def test_page_of_a_new_rule_needs_no_further_edit() -> None:
    page = rule_pages.page(Unlisted)
    assert page.startswith(
        "# Unlisted\n\nA rule that is not in the registry.\n\n```\nx = x - lr g\n```"
    )
    assert "Bytes of state per parameter: 0.00 in float32" in page
    assert "this test." in page


def test_every_rule_page_has_equations_state_and_source() -> None:
    for kind in ALL:
        page = rule_pages.page(kind)
        assert "```\n" in page.split("## Update")[0], kind
        assert all(f"`{name}`" in page for name in kind().contents()), kind
        assert len(page.split("## Source")[1].split("## Worked example")[0]) > 20, kind


def test_every_formula_has_a_plot_with_values() -> None:
    for function in closed_forms():
        plot = SPECIAL.get(function.__name__) or plot_of(function)
        points = [result_at(plot, x, curve) for x in plot.values[::20] for curve in plot.curves]
        assert np.mean([np.isfinite(np.ravel(point)).all() for point in points]) > 0.4, function
