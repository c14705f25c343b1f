"""Simulated studies, in which the truth is known: intervals cover what they are of, tests call chance a finding rarely.

What is drawn is as in real runs: an episode has its own ease, a learner answers some of its 30 queries right, a seed
moves a trained model up or down. STUDIES simulated ones know a share of 0.95 or 0.05 to 0.0034 (one standard error); a
check of 93 to 97 % is 5.8 of them wide on each side.
"""

import numpy
import pytest
from scipy import stats

from metalingua.result.interval import FEWEST_EPISODES, LEVEL, bootstrap_over_episodes, ends, expanded, mean_over_seeds
from metalingua.result.significance import holm, sign_flip

STUDIES = 4000
QUERIES = 30
SEEDS = (3, 4, 5, 10)
EPISODES = (FEWEST_EPISODES, 20, 60, 200)


def error(share, studies=STUDIES):
    return (share * (1 - share) / studies) ** 0.5


assert error(0.95) < 0.0035


def covered(low, high, truth):
    return float(((low <= truth) & (truth <= high)).mean())


def of_seeds(seeds, dice):
    """What each seed's trained model reaches, in two learners: [studies, seeds] each. The truth is 0.70 and 0.65."""
    common = dice.normal(0, 0.03, (STUDIES, seeds))  # a seed's data and start, the same for both
    mine, other = (mean + common + dice.normal(0, own, common.shape) for mean, own in ((0.70, 0.01), (0.65, 0.02)))
    return mine, other


def of_episodes(episodes, dice, studies=STUDIES, gain=0.05):
    """Accuracies of two learners on the same episodes [studies, episodes]; the truth is 0.70 and 0.70 - gain."""
    ease = dice.beta(14, 6, (studies, episodes))
    worse = numpy.clip(ease - 2 * gain * dice.random((studies, episodes)), 0, 1)
    return dice.binomial(QUERIES, ease) / QUERIES, dice.binomial(QUERIES, worse) / QUERIES


@pytest.mark.parametrize("seeds", SEEDS)
def test_t_over_seeds_covers_the_mean_and_the_paired_difference_of_new_seeds(seeds):
    mine, other = of_seeds(seeds, numpy.random.default_rng(seeds))
    for values, truth in ((mine, 0.70), (mine - other, 0.05)):
        found = [mean_over_seeds(study) for study in values]
        low, high = (numpy.array([getattr(one, end) for one in found]) for end in ("low", "high"))
        assert 0.93 < covered(low, high, truth) < 0.97
        arm = stats.norm.ppf(0.975) * values.std(axis=1, ddof=1) / seeds**0.5  # so z in place of t is seen
        assert covered(values.mean(axis=1) - arm, values.mean(axis=1) + arm, truth) < 0.93


@pytest.mark.parametrize("episodes", EPISODES)
def test_the_bootstrap_covers_other_episodes_of_this_seed(episodes):
    studies = 1500 if episodes > 100 else STUDIES  # then a share of 0.95 is known to 0.0056
    mine, other = of_episodes(episodes, numpy.random.default_rng(episodes), studies)
    for values, truth in ((mine, 0.70), (mine - other, 0.05)):
        assert 0.93 < covered(*ends(values, resamples=999), truth) < 0.97


def test_below_the_fewest_episodes_it_does_not_and_the_plain_percentile_needs_more(monkeypatch):
    few, _ = of_episodes(4, numpy.random.default_rng(0))
    assert covered(*ends(few, resamples=999), 0.70) < 0.93
    values, _ = of_episodes(FEWEST_EPISODES, numpy.random.default_rng(FEWEST_EPISODES))
    monkeypatch.setattr("metalingua.result.interval.expanded", lambda n: LEVEL)
    assert covered(*ends(values, resamples=999), 0.70) < 0.93


def test_each_interval_covers_its_own_question_only():
    """An interval over the episodes of one seed says nothing of a new seed; unpaired, it is far too wide."""
    dice = numpy.random.default_rng(1)
    seed = dice.normal(0, 0.05, (STUDIES, 1))
    scores = dice.binomial(QUERIES, numpy.clip(0.7 + seed, 0, 1), (STUDIES, 60)) / QUERIES
    low, high = ends(scores, resamples=999)
    assert 0.93 < covered(low, high, numpy.clip(0.7 + seed[:, 0], 0, 1)) < 0.97
    assert covered(low, high, 0.7) < 0.5
    mine, other = of_seeds(5, dice)
    unpaired = stats.t.ppf(0.975, 8) * ((mine.var(1, ddof=1) + other.var(1, ddof=1)) / 5) ** 0.5
    difference = (mine - other).mean(axis=1)
    assert covered(difference - unpaired, difference + unpaired, 0.05) > 0.97


TESTS, NULLS = 8, 1500  # tests a study; studies in which nothing differs. 5 % of them are known to 0.6 points


def false_alarms(p):
    """Share of studies [studies, tests] with at least one p of 0.05 or less."""
    return float((p <= 0.05).any(axis=-1).mean())


def test_over_seeds_holm_keeps_false_alarms_at_5_percent():
    dice = numpy.random.default_rng(0)
    reference = dice.normal(0, 0.02, (NULLS, 1, 10))  # all are compared with one, so the tests depend on each other
    p = sign_flip(dice.normal(0, 0.02, (NULLS, TESTS, 10)) - reference)
    assert 0.01 < false_alarms(holm(p)) <= 0.05
    assert false_alarms(p) > 0.15  # unadjusted
    assert 0.03 < (p <= 0.05).mean() <= 0.05 + 3 * error(0.05, NULLS)  # one test alone is as it says


def test_over_episodes_holm_keeps_false_alarms_at_5_percent(monkeypatch):
    monkeypatch.setattr("metalingua.result.significance.RESAMPLES", 999)
    dice, studies = numpy.random.default_rng(0), 500
    ease = dice.beta(14, 6, (studies, 1, 60))
    scores = dice.binomial(QUERIES, numpy.broadcast_to(ease, (studies, TESTS + 1, 60))) / QUERIES
    p = numpy.stack([sign_flip(study[1:] - study[:1]) for study in scores])
    assert 0.005 < false_alarms(holm(p)) <= 0.05
    assert false_alarms(p) > 0.15
    assert 0.03 < (p <= 0.05).mean() <= 0.05 + 3 * error(0.05, studies)


def test_a_real_difference_is_found():
    dice = numpy.random.default_rng(0)
    differences = dice.normal(0, 0.02, (300, TESTS, 10))
    differences[:, 0] += 0.05
    adjusted = holm(sign_flip(differences))
    assert (adjusted[:, 0] <= 0.05).mean() > 0.9 and false_alarms(adjusted[:, 1:]) <= 0.07


def test_the_intervals_are_scipys():
    mine, other = (scores[0] for scores in of_seeds(5, numpy.random.default_rng(3)))
    found, scipys = mean_over_seeds(mine - other), stats.ttest_rel(mine, other).confidence_interval(LEVEL)
    assert (found.low, found.high) == (pytest.approx(scipys.low), pytest.approx(scipys.high))
    one = mean_over_seeds(mine)
    assert (one.low, one.high) == pytest.approx(stats.t.interval(LEVEL, 4, loc=mine.mean(), scale=stats.sem(mine)))
    values = of_episodes(60, numpy.random.default_rng(3))[0][0]
    boot = bootstrap_over_episodes(values)
    plain = stats.bootstrap((values,), numpy.mean, n_resamples=4999, confidence_level=expanded(60), method="percentile",
                            rng=numpy.random.default_rng(0)).confidence_interval  # fmt: skip
    assert (boot.low, boot.high) == (pytest.approx(plain.low), pytest.approx(plain.high))
    assert expanded(10**6) == pytest.approx(LEVEL, abs=1e-5) and expanded(10) > 0.98  # only small numbers need it
