"""Adam ends at the worst point, AMSGrad and Adam with a large beta2 do not (Reddi et al. 2018,
arXiv:1904.09237).
"""

import pytest
from benchmarks.truth import TABLE_C, by_hand, ends, figure1, paper, regrets, theorem1

from betaplane.rules import Adam, AMSGrad


@pytest.mark.parametrize(
    "C", [3, 100, *(pytest.param(C, marks=pytest.mark.slow) for C in (2.5, 5, 10, 15))]
)
def test_theorem_1(C):
    problem, beta2 = theorem1(C, steps=3999)
    stuck, large = paper(Adam, problem, 0.0, beta2), paper(Adam, problem, 0.9, 0.999)
    x, free = ends(problem, [stuck, large])
    assert x > 0.99
    assert free < -0.999
    assert regrets(problem, [stuck]) == pytest.approx([2 * (C - 2) / 3], rel=0.05)
    assert ends(problem, [paper(AMSGrad, problem, 0.0, beta2)])[0] < -0.98
    assert C in TABLE_C


def test_figure_1():
    problem = figure1(steps=120 * 101)
    runs = [paper(Adam, problem, 0.9, 0.99), paper(Adam, problem, 0.9, 0.9999)]
    stuck, free = ends(problem, runs)
    (kept,) = ends(problem, [paper(AMSGrad, problem, 0.9, 0.99)])
    assert stuck > 0.99
    assert regrets(problem, runs[:1]) == pytest.approx(
        [by_hand(problem, Adam, 0.9, 0.99)[1]], rel=1e-3
    )
    assert free < -0.7  # slower: it starts from averages of 10,000 steps
    assert kept < -0.8
    assert stuck == pytest.approx(by_hand(problem, Adam, 0.9, 0.99)[0], abs=1e-3)
    assert free == pytest.approx(by_hand(problem, Adam, 0.9, 0.9999)[0], abs=1e-3)
    assert kept == pytest.approx(by_hand(problem, AMSGrad, 0.9, 0.99, corrected=False)[0], abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "x", "regret"), [(Adam, 1.0, 0.228), (AMSGrad, -0.9973, 0.0347)])
def test_figure_1_at_a_million_steps(rule, x, regret):
    """The figures of x_T and R_T / T are another implementation's."""
    problem = figure1(steps=1_000_000)
    assert ends(problem, [paper(rule, problem, 0.9, 0.99)]) == pytest.approx([x], abs=3e-3)
    slow = by_hand(problem, rule, 0.9, 0.99, corrected=False)
    assert slow == (pytest.approx(x, abs=3e-3), pytest.approx(regret, rel=0.01))


@pytest.mark.slow
def test_the_correction_of_bias_makes_no_difference_to_adam_here():
    problem = figure1(steps=100_000)
    corrected, plain = (by_hand(problem, Adam, 0.9, 0.99, how) for how in (True, False))
    # x_T, and the regret, which remembers the first steps
    assert corrected == pytest.approx(plain, rel=0.01)
