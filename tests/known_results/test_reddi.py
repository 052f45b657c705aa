"""Adam converges to the worst point, AMSGrad and Adam with a large beta2 do not (Reddi et al. 2018,
arXiv:1904.09237).
"""

import pytest
from benchmarks.known_results.reddi import TABLE_C, by_hand, ends, figure1, paper, regrets, theorem1

from betaplane.rules import Adam, AMSGrad


@pytest.mark.parametrize(
    "C", [3, 100, *(pytest.param(C, marks=pytest.mark.slow) for C in (2.5, 5, 10, 15))]
)
def test_training_agrees_with_theorem_1(C):
    problem, beta2 = theorem1(C, steps=3999)
    small, large = paper(Adam, problem, 0.0, beta2), paper(Adam, problem, 0.9, 0.999)
    x_small, x_large = ends(problem, [small, large])
    assert x_small > 0.99
    assert x_large < -0.999
    assert regrets(problem, [small]) == pytest.approx([2 * (C - 2) / 3], rel=0.05)
    assert ends(problem, [paper(AMSGrad, problem, 0.0, beta2)])[0] < -0.98
    assert C in TABLE_C


def test_training_agrees_with_figure_1():
    problem = figure1(steps=120 * 101)
    runs = [paper(Adam, problem, 0.9, 0.99), paper(Adam, problem, 0.9, 0.9999)]
    x_small, x_large = ends(problem, runs)
    (x_amsgrad,) = ends(problem, [paper(AMSGrad, problem, 0.9, 0.99)])
    assert x_small > 0.99
    assert regrets(problem, runs[:1]) == pytest.approx(
        [by_hand(problem, Adam, 0.9, 0.99)[1]], rel=1e-3
    )
    assert x_large < -0.7  # slower: its second moment remembers 10,000 steps
    assert x_amsgrad < -0.8
    assert x_small == pytest.approx(by_hand(problem, Adam, 0.9, 0.99)[0], abs=1e-3)
    assert x_large == pytest.approx(by_hand(problem, Adam, 0.9, 0.9999)[0], abs=1e-3)
    x_by_hand, _ = by_hand(problem, AMSGrad, 0.9, 0.99, corrected=False)
    assert x_amsgrad == pytest.approx(x_by_hand, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "x", "regret"), [(Adam, 1.0, 0.228), (AMSGrad, -0.9973, 0.0347)])
def test_figure_1_at_a_million_steps_agrees_with_another_implementation(rule, x, regret):
    """The expected x_T and R_T / T were computed by another implementation."""
    problem = figure1(steps=1_000_000)
    assert ends(problem, [paper(rule, problem, 0.9, 0.99)]) == pytest.approx([x], abs=3e-3)
    slow = by_hand(problem, rule, 0.9, 0.99, corrected=False)
    assert slow == (pytest.approx(x, abs=3e-3), pytest.approx(regret, rel=0.01))


@pytest.mark.slow
def test_bias_correction_makes_no_difference_to_adam_here():
    problem = figure1(steps=100_000)
    corrected, plain = (by_hand(problem, Adam, 0.9, 0.99, how) for how in (True, False))
    # x_T, and the regret, which depends on the first steps
    assert corrected == pytest.approx(plain, rel=0.01)
