"""Every claim has a result in the package, and a rule that can fail."""

import dataclasses
import math
import re
from pathlib import Path

import pytest

from betaplane.claims import ALL, Below, Measured, Same, judge, load_claim, run_claim, shipped
from betaplane.claims.report import html_page, markdown_pages
from betaplane.claims.result import digest

README = Path(__file__).resolve().parents[2] / "README.md"
QUICK_SECONDS = 0.5  # claims that take longer are run by the slow tests
QUICK = [name for name in ALL if (result := shipped(name)) and result.seconds < QUICK_SECONDS]
REST = sorted({*ALL} - {*QUICK}, key=lambda name: shipped(name).seconds)
LONGER = [pytest.param(name, marks=pytest.mark.slow) for name in REST]


def spoiled(check, results):
    """The results with the quantity of a check moved across its bound, for every seed."""
    least, most = check.bounds
    outside = least - 1 - 10 * abs(least) if math.isfinite(least) else most + 1 + 10 * abs(most)
    quantity = results[check.of]
    values = [outside] * len(quantity.values)
    if isinstance(check, (Below, Same)):
        other = results[check.other].values
        sign = -1 if isinstance(check, Below) else 1
        values = [o + sign * outside if math.isfinite(o) else o + 1 for o in other]
        if not all(map(math.isfinite, other)):
            return results | {check.of: results[check.other], check.other: quantity}
    return results | {check.of: dataclasses.replace(quantity, values=tuple(values))}


@pytest.mark.parametrize("name", ALL)
def test_every_check_of_a_claim_can_fail(name):
    claim, result = load_claim(name), shipped(name)
    command = f"betaplane claims run {name} --store src/betaplane/claims/results"
    assert result is not None, command
    for check in claim.rule():
        assert check.state(result.measured) != "not measured", check
        wrong = spoiled(check, result.measured)
        assert check.state(wrong) == "fails", check
        if not check.when:
            assert judge(claim.rule(), wrong).text == "does not hold here"


@pytest.mark.parametrize("name", ALL)
def test_a_claim_of_which_no_condition_is_met_does_not_hold(name):
    claim, results = load_claim(name), shipped(name).measured
    conditional = [check for check in claim.rule() if check.when]
    states = {check.when: judge([check], results) for check in conditional}
    for check in conditional:
        alone = judge([check], spoiled(check, results))
        assert alone.text == "does not hold here"
    assert len(states) != 1, "one condition for all checks belongs to the statement"


@pytest.mark.parametrize("name", ALL)
def test_a_claim_states_its_sources_and_its_setting(name):
    claim = load_claim(name)
    assert claim.name == name
    assert claim.sources
    assert all(source.year and source.place for source in claim.sources)
    assert claim.statement.endswith(".")
    assert claim.seeds == 1 or claim.seeds >= 3
    assert shipped(name).panels or shipped(name).tables


@pytest.mark.parametrize("name", ALL)
def test_a_result_is_of_the_experiment_as_it_is_now(name):
    command = f"betaplane claims run {name} --store src/betaplane/claims/results"
    assert shipped(name).made_with["experiment"] == digest(load_claim(name)), command


@pytest.mark.parametrize("name", [*QUICK, *LONGER])
def test_an_experiment_gives_the_result_of_the_package(name):
    claim = load_claim(name)
    again, result = run_claim(claim), shipped(name)
    assert again.verdict(claim).text == result.verdict(claim).text
    assert again.measured.keys() == result.measured.keys()
    if claim.seeds == 1:
        for quantity, measured in again.measured.items():
            assert measured.values == pytest.approx(
                result.measured[quantity].values, rel=1e-3, abs=1e-9
            )


@pytest.mark.parametrize("name", [*QUICK, *LONGER])
def test_a_wrong_optimizer_does_not_pass(name):
    claim = load_claim(name)
    stated = shipped(name).verdict(claim).text
    if not stated.startswith("holds"):
        pytest.skip("a claim that does not hold has nothing to lose")
    claim = dataclasses.replace(claim, seeds=min(claim.seeds, 3))
    assert any(run_claim(claim, alter=alter).verdict(claim).text != stated for alter in WRONG)


def ascend(rule):
    """The rule with the sign of its gradients changed."""
    base = type(rule)

    class Ascending(base):
        def step(self, x, g, s, lr):
            return base.step(self, x, -g, s, lr)

    return Ascending(**rule.options())


def halve(rule):
    """The rule with updates of half the size."""
    base = type(rule)

    class Halving(base):
        def step(self, x, g, s, lr):
            return base.step(self, x, g, s, lr / 2)

    return Halving(**rule.options())


def distort(rule):
    """The rule with the roots of its gradients' sizes."""
    base = type(rule)

    class Distorting(base):
        def step(self, x, g, s, lr):
            return base.step(self, x, g.sign() * g.abs().sqrt(), s, lr)

    return Distorting(**rule.options())


WRONG = (ascend, distort, halve)


def test_the_report_shows_every_claim():
    page = html_page()
    assert all(f'id="{name}"' in page for name in ALL)
    assert not re.search(r'(src|href)="http', page.replace('xlink:href="#', ""))
    assert "<script" not in page
    pages = markdown_pages()
    assert all(f"{name}.md" in pages for name in ALL)


def test_the_readme_counts_the_verdicts_of_the_package():
    verdicts = [shipped(name).verdict(load_claim(name)).text for name in ALL]
    conditional = sum(text.startswith("holds when") for text in verdicts)
    counts = [verdicts.count(text) for text in ("holds", "does not hold here", "undecided")]
    row = "{} hold, {} hold under a condition, {} do not hold here, {} are undecided"
    row = row.format(counts[0], conditional, *counts[1:])
    assert f"| {len(ALL)} claims of papers, re-checked | {row} |" in README.read_text("utf-8")


def test_numbers_survive_the_file(tmp_path):
    from betaplane.claims import ClaimStore

    result = shipped(ALL[0])
    odd = dataclasses.replace(result, measured={"x": Measured((math.inf, 1.0), "s", 2.0, "note")})
    ClaimStore(tmp_path).save(odd)
    assert ClaimStore(tmp_path).load(ALL[0]) == odd
