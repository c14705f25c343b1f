import numpy
import pytest

from metalingua.result.interval import bootstrap_over_episodes, mean_over_seeds


def test_t_by_hand():
    found = mean_over_seeds([1.0, 2.0, 3.0])  # mean 2, deviation 1, t(0.975, 2) = 4.30265, arm 4.30265 / sqrt(3)
    assert (found.estimate, found.n) == (2.0, 3)
    assert found.high - 2.0 == pytest.approx(2.48414, abs=1e-5)
    assert found.low - 2.0 == pytest.approx(-2.48414, abs=1e-5)
    assert not mean_over_seeds([1.0, 5.0]).excludes_zero and found.method == "95 % t interval over 3 seeds"
    assert mean_over_seeds([-2.0, -2.1, -2.2]).excludes_zero


def test_t_covers_the_mean_over_seeds():
    dice = numpy.random.default_rng(0)
    found = [mean_over_seeds(dice.normal(3.0, 2.0, 3)) for _ in range(1000)]
    assert 0.93 < numpy.mean([one.low <= 3.0 <= one.high for one in found]) < 0.97


def test_bootstrap_covers_this_seeds_mean_over_episodes_and_not_the_mean_over_seeds():
    dice = numpy.random.default_rng(0)
    over_seeds = own_mean = 0
    for _ in range(200):
        of_seed = 0.7 + dice.normal(0, 0.02)  # what this seed's trained model reaches
        found = bootstrap_over_episodes(of_seed + dice.normal(0, 0.1, 200))
        own_mean += found.low <= of_seed <= found.high
        over_seeds += found.low <= 0.7 <= found.high
    assert 0.91 < own_mean / 200 < 0.99
    assert over_seeds / 200 < 0.75  # hence the label


def test_bootstrap_repeats_and_its_seed_moves_the_ends_only():
    values = numpy.random.default_rng(0).random(50)
    first, again, other = (bootstrap_over_episodes(values, seed) for seed in (0, 0, 1))
    assert first == again and first.low != other.low and first.estimate == other.estimate
    assert first.low == pytest.approx(other.low, abs=0.05 * (first.high - first.low))
    assert first.method.endswith("given this seed")


@pytest.mark.parametrize("interval", [mean_over_seeds, bootstrap_over_episodes])
def test_values_without_spread_have_no_width(interval):
    found = interval([0.1] * 7)
    assert found.high - found.low < 1e-15 and found.estimate == pytest.approx(0.1)
    assert not interval([0.0] * 7).excludes_zero


@pytest.mark.parametrize("interval", [mean_over_seeds, bootstrap_over_episodes])
@pytest.mark.parametrize(
    ("values", "says"),
    [([1.0], "2 values or more"), ([], "2 values"), ([[1.0, 2.0]], "shape"), ([1, float("nan"), 2], "1 of 3")],
)
def test_what_has_no_interval_is_refused(interval, values, says):
    with pytest.raises(ValueError, match=says):
        interval(values)
