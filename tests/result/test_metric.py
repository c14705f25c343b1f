"""Pooled scores: what scikit-learn and scipy give for all items together, and what an episode adds to them."""

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import f1_score

from metalingua.result import metric
from metalingua.result.interval import bootstrap_over_episodes
from metalingua.result.metric import METRICS, Metric
from metalingua.result.run import EPISODE_COLUMNS, RunDirectory, read_run
from metalingua.result.table import frame, tables

DICE = np.random.default_rng(0)


def confusion(truth, answers, ways):
    return np.bincount(ways * truth + answers, minlength=ways**2).astype(float)


@pytest.mark.parametrize("ways", [2, 5])
def test_macro_f1_of_pooled_confusions_is_scikit_learns_of_all_items(ways):
    truth, answers = DICE.integers(ways, size=(2, 8, 30))
    counts = [confusion(*each, ways) for each in zip(truth, answers, strict=True)]
    found = METRICS["macro_f1"].per_episode([each.tolist() for each in counts])
    whole = f1_score(truth.ravel(), answers.ravel(), labels=range(ways), average="macro")
    assert found.shape == (8,) and found.mean() == pytest.approx(whole, abs=1e-12)
    assert metric.macro_f1(np.array(counts)[0]) == pytest.approx(
        f1_score(truth[0], answers[0], labels=range(ways), average="macro", zero_division=0)
    )


def test_a_class_that_nobody_meets_counts_nothing_right():
    assert metric.macro_f1(confusion(np.array([0, 1]), np.array([0, 1]), 3)) == pytest.approx(2 / 3)


def test_pearson_of_pooled_sums_is_scipys_of_all_items():
    x, y = DICE.normal(size=(2, 6, 20))
    y += x
    sums = [[20, a.sum(), b.sum(), a @ a, b @ b, a @ b] for a, b in zip(x, y, strict=True)]
    found = METRICS["pearson"].per_episode(sums)
    assert found.mean() == pytest.approx(pearsonr(x.ravel(), y.ravel()).statistic, abs=1e-9)
    constant = np.array([3, 6.0, 1.0, 12.0, 1.0, 2.0])  # x is 2, 2, 2
    assert metric.pearson(constant) == 0.0


def test_f1_by_hand():
    assert metric.f1(np.array([[1.0, 2, 3], [0, 0, 0], [0, 4, 0]])).tolist() == [2 / 5, 0.0, 0.0]


def test_an_episode_is_worth_what_the_score_loses_without_it():
    f1 = Metric("f", "F", pooled=metric.f1)
    counts = [[5, 6, 6], [0, 6, 6], [3, 6, 6]]
    found = f1.per_episode(counts)
    assert found.mean() == pytest.approx(2 * 8 / 36)
    assert found.argmax() == 0 and found.argmin() == 1
    assert f1.per_episode(counts[:1]) == pytest.approx([5 / 6])
    # where all episodes have as many items, F1 is a mean, and so these are the episodes' own scores
    assert found == pytest.approx([5 / 6, 0, 1 / 2])


def test_an_interval_over_pooled_episodes_covers_the_score_of_a_new_population():
    """Of unequal episodes, whose F1 is no mean of theirs."""
    f1, hits = Metric("f", "F", pooled=metric.f1), []
    for seed in range(150):
        dice = np.random.default_rng(seed)
        there = dice.integers(1, 9, 40)
        right = dice.binomial(there, 0.6)
        found = right + dice.poisson(1, 40)
        interval = bootstrap_over_episodes(f1.per_episode(np.stack([right, found, there], 1).tolist()))
        hits.append(interval.low <= 2 * 0.6 * 4.5 / (0.6 * 4.5 + 1 + 4.5) <= interval.high)
    assert 0.9 <= np.mean(hits) <= 0.985  # 95 %, and three standard errors of 150 draws


def test_what_is_missing_is_not_finite():
    assert np.isnan(METRICS["macro_f1"].per_episode([None, [1.0, 0, 0, 1]])).all()
    assert np.isnan(METRICS["macro_f1"].per_episode([float("nan")])).all()


def test_a_table_of_pooled_scores_from_disk(make_run, tmp_path):
    result, episodes = make_run(0, 12)
    dice = np.random.default_rng(1)
    result["targets"]["imdb"]["metric"] = "macro_f1"
    rows = episodes["target"] == "imdb"
    episodes["macro_f1"] = None
    matrices = [dice.multinomial(30, [0.4, 0.1, 0.1, 0.4]).astype(float).tolist() for _ in range(rows.sum())]
    episodes.loc[rows, "macro_f1"] = np.array([*map(tuple, matrices), None], dtype=object)[:-1]
    run = RunDirectory(tmp_path / "run")
    with run.lock():
        run.finish(result, episodes)
    imdb, stars = tables([read_run(run.path)])
    mine = np.array(matrices[:12]).sum(0)
    assert imdb.rows[0].learner == "maml"
    assert imdb.rows[0].score.estimate == pytest.approx(100 * float(metric.macro_f1(mine)))
    assert [each.title for each in imdb.metric.printed] == ["macro F1, %", "accuracy, %"]
    assert stars.metric.name == "rmse"
    made = frame([imdb, stars])
    assert {"macro_f1_percent", "accuracy_percent", "rmse_points"} <= set(made.columns)
    assert "F1" in " ".join(imdb.notes)


def test_columns_that_are_no_metric_are_refused(make_run, tmp_path):
    result, episodes = make_run(0, 12)
    with pytest.raises(ValueError, match="it needs"), (run := RunDirectory(tmp_path / "run")).lock():
        run.finish(result, episodes.assign(mine=1.0))
    assert "macro_f1" not in EPISODE_COLUMNS
