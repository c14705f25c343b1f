import numpy
import pytest
from scipy.stats import permutation_test

from metalingua.result.significance import Significance, enough, exact, holm, sign_flip, smallest


def test_all_flips_by_hand():
    # means of 1, 2 and 4 with any signs: only all + (7) and all - (-7) are as far out, 2 of 8
    assert sign_flip([1.0, 2.0, 4.0]) == 0.25
    assert sign_flip([-1.0, 2.0, 4.0]) == 0.5  # 5, 7 and their opposites
    assert sign_flip([1.0, -1.0]) == 1.0 and sign_flip([0.0, 0.0, 0.0]) == 1.0


def test_ties_are_ties_though_sums_round():
    values = [0.1, 0.2, -0.3, 0.1, 0.2, -0.3]  # 0.1 + 0.2 - 0.3 is 6e-17, so flips that tie differ in their last bit
    assert sign_flip(values) == 1
    assert permutation_test((values,), numpy.mean, permutation_type="samples", n_resamples=numpy.inf).pvalue < 1


def test_exact_is_scipys_and_rows_are_tested_apart():
    rows = numpy.random.default_rng(0).normal(0.3, 1, (4, 7))
    found = sign_flip(rows)
    for row, p in zip(rows, found, strict=True):
        assert p == permutation_test((row,), numpy.mean, permutation_type="samples", n_resamples=numpy.inf).pvalue
    assert sign_flip(rows.reshape(2, 2, 7)).tolist() == found.reshape(2, 2).tolist()
    assert exact(13) and not exact(14)


def test_many_values_are_flipped_at_random_near_the_exact_p():
    row = numpy.random.default_rng(2).normal(0.45, 1, 16)
    truth = permutation_test((row,), lambda x, axis: x.mean(axis=axis), permutation_type="samples",
                             vectorized=True, n_resamples=numpy.inf, batch=4096).pvalue  # fmt: skip
    assert 0.02 < truth < 0.3 and sign_flip(row) == pytest.approx(truth, abs=4 * (truth / 9999) ** 0.5)
    assert sign_flip(row) == sign_flip(row.copy())  # the same flips each time
    assert sign_flip(numpy.ones(60)) == smallest(60) == 2 / 10_000


def test_the_smallest_p():
    for n in (2, 3, 4, 9):
        assert sign_flip(numpy.arange(1.0, n + 1)) == smallest(n) == 2 / 2**n
    assert smallest(3, tests=3) == 0.75 and smallest(3, tests=9) == 1
    assert smallest(enough(22), 22) <= 0.05 < smallest(enough(22) - 1, 22)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])  # 3 x 0.01, 2 x 0.03, then no less
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0] and holm([0.02]).tolist() == [0.02] and holm([]).tolist() == []
    assert holm([[0.01, 0.04], [0.04, 0.01]]).tolist() == [[0.02, 0.04], [0.04, 0.02]]
    assert Significance(0.01, 0.05).significant and not Significance(0.01, 0.06).significant


def test_what_cannot_be_tested_is_refused():
    with pytest.raises(ValueError, match="2 differences or more"):
        sign_flip([1.0])
    with pytest.raises(ValueError, match="1 of 3 differences"):
        sign_flip([1.0, float("nan"), 2.0])
