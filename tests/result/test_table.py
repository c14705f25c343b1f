import csv as reader
import io

import numpy
import pytest
from rich.console import Console

from metalingua.result.run import RunError
from metalingua.result.table import csv, markdown, tables, terminal


def printed(table, width=100):
    console = Console(width=width, file=io.StringIO())
    console.print(terminal(table))
    return console.file.getvalue()


def test_rows_are_the_learner_then_the_compare_list(make_run):
    result, episodes = make_run()
    result["learner"] = "multi_task"
    assert [row.learner for row in tables([(result, episodes)])[0].rows] == [
        "multi_task", "maml", "single_task", "majority",
    ]  # fmt: skip


def test_one_run_is_labelled_given_this_seed(make_run):
    result, episodes = make_run()
    imdb, stars = tables([(result, episodes)])
    assert "given this seed" in imdb.method
    maml, multi_task, single_task, majority = imdb.rows
    mine = episodes[(episodes.learner == "maml") & (episodes.target == "imdb")]
    assert maml.score.estimate == pytest.approx(100 * mine.accuracy.mean())
    assert maml.balanced.estimate == pytest.approx(maml.score.estimate - 1)
    difference = maml.differences["single_task"]
    assert difference.excludes_zero and difference.n == 60 and 19 < difference.estimate < 21
    assert difference.high - difference.low < 0.5 * (maml.score.high - maml.score.low)  # pairing takes the ease out
    assert single_task.differences["single_task"] is None and single_task.differences["multi_task"].high < 0
    assert (maml.adapt_milliseconds, majority.peak_memory_mib) == (pytest.approx(4.0), None)
    assert stars.rows[0].score.estimate == pytest.approx(1.2, abs=0.03) and stars.rows[0].balanced is None
    assert stars.rows[0].differences["single_task"].estimate == pytest.approx(-0.2, abs=0.01)


def test_episodes_pair_by_number_in_any_order(make_run):
    result, episodes = make_run()
    as_it_was = tables([(result, episodes)])
    shuffled = episodes.sample(frac=1, random_state=1)
    assert tables([(result, shuffled)]) == as_it_was
    renumbered = episodes.copy()  # what pairing by position would do to shuffled rows
    single = renumbered.learner == "single_task"
    renumbered.loc[single, "episode"] = renumbered.loc[single, "episode"].to_numpy()[::-1]
    width = [
        found[0].rows[0].differences["single_task"].high - found[0].rows[0].differences["single_task"].low
        for found in (as_it_was, tables([(result, renumbered)]))
    ]
    assert width[1] > 2 * width[0]


def test_several_seeds_use_t_over_seeds_of_paired_means(make_run):
    runs = [make_run(seed) for seed in range(3)]
    table = tables(runs)[0]
    per_seed = []
    for _, episodes in runs:
        by = episodes[episodes.target == "imdb"].pivot(index="episode", columns="learner", values="accuracy")
        per_seed.append(100 * (by.maml - by.single_task).mean())
    found = table.rows[0].differences["single_task"]
    arm = 4.302653 * numpy.std(per_seed, ddof=1) / numpy.sqrt(3)
    assert (found.estimate, found.high) == (
        pytest.approx(numpy.mean(per_seed)),
        pytest.approx(numpy.mean(per_seed) + arm),
    )
    assert table.method == "95 % t interval over 3 seeds" and found.n == 3
    assert any("p = 0.25" in note for note in table.notes) and not any("Warning" in note for note in table.notes)
    assert any("Warning: a t interval over 2 seeds" in note for note in tables(runs[:2])[0].notes)


def drop_one(result, episodes):
    return result, episodes[~((episodes.learner == "single_task") & (episodes.episode == 7))]


def drop_a_learner(result, episodes):
    return result, episodes[~((episodes.learner == "majority") & (episodes.target == "stars"))]


def drop_a_reference(result, episodes):
    del result["settings"]["single_task"]
    return result, episodes[episodes.learner != "single_task"]


def drop_one_of_all(result, episodes):
    return result, episodes[episodes.episode != 7]


def twice(result, episodes):
    return result, episodes.replace({"episode": {7: 8}})


def not_a_number(result, episodes):
    episodes.loc[7, "accuracy"] = numpy.nan
    return result, episodes


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (drop_one, "single_task and maml did not see the same episodes.*7"),
        (drop_a_learner, "target stars: no episodes of majority"),
        (drop_a_reference, "no results of single_task.*compare list"),
        (drop_one_of_all, "59 episodes, 60 announced"),
        (twice, "episode 8 twice"),
        (not_a_number, "maml has no finite accuracy in 1 episodes, the first is 7"),
    ],
)
def test_what_cannot_be_paired_is_refused(make_run, harm, says):
    with pytest.raises(RunError, match=says):
        tables([harm(*make_run())])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 0}, "all have seed 0"),
        ({"experiment": "other"}, "differ in experiment"),
        ({"data": {"imdb": "decaf"}}, "differ in data"),
        ({"family": "x"}, "differ in family"),
        ({"settings": {"maml": {}}}, "compare different learners"),
    ],
)
def test_runs_that_differ_in_more_than_their_seed_are_refused(make_run, change, says):
    result, episodes = make_run(1)
    with pytest.raises(RunError, match=says):
        tables([make_run(0), (result | change, episodes)])
    with pytest.raises(RunError, match="no run"):
        tables([])


def test_the_terminal_table_fits_100_columns_with_nothing_cut(make_run):
    for table in tables([make_run(seed) for seed in range(3)]):
        text = printed(table)
        assert max(map(len, text.splitlines())) <= 100 and "…" not in text
        assert "1,234,567" in text and "812" in text and "n/a" in text and "Majority class †" in text
        assert ("MAML" in text) and ("RMSE" in text) == (table.metric == "rmse")
    assert "IMDb: its training half." in printed(tables([make_run()])[0])


def test_markdown_marks_what_excludes_zero(make_run):
    result, episodes = make_run()
    text = markdown(tables([(result, episodes)]))
    row = next(line for line in text.splitlines() if line.startswith("| MAML"))
    assert row.count("**") == 4 and row.count("|") == 9
    same = episodes.copy()
    for target in ("imdb", "stars"):
        of = same.target == target
        scores = ["accuracy", "rmse"]
        mine = same.loc[of & (same.learner == "maml"), scores].to_numpy()
        same.loc[of & (same.learner == "single_task"), scores] = mine  # no difference at all
    row = next(line for line in markdown(tables([(result, same)])).splitlines() if line.startswith("| MAML"))
    assert row.count("**") == 2 and "| 0.0 [0.0,\N{NO-BREAK SPACE}0.0] |" in row


def test_csv_holds_every_number(make_run):
    made = tables([make_run()])
    lines = list(reader.DictReader(io.StringIO(csv(made))))
    assert len(lines) == 8 and lines[0]["target"] == "imdb" and lines[-1]["balanced_accuracy_percent"] == ""
    low = made[0].rows[0].differences["single_task"].low
    assert float(lines[0]["minus_single_task_points_low"]) == pytest.approx(low)


def trained(run, seconds, history, goal=0.6):
    result, rows = run
    result["training"] = {"maml": {"seconds": seconds, "history": history}}
    result["settings"]["single_task"]["validation"] = goal
    return result, rows


def test_when_a_learner_reached_the_first_references_score(make_run):
    history = [[50, 10.0, 0.55], [100, 20.0, 0.6], [150, 30.0, 0.7]]
    first, second = trained(make_run(), 32.0, history), trained(make_run(seed=1), 36.0, history[:1] + history[2:])
    row = tables([first])[0].rows[0]
    assert row.training_seconds == 32 and row.reached == (100, 20)
    both = tables([first, second])[0]
    assert both.rows[0].training_seconds == 34 and both.rows[0].reached == (125, 25)  # medians over seeds
    assert "| 34 | 125, 25 |" in markdown([both]) and "steps, s to the score of Single-task" in markdown([both])
    assert both.rows[1].training_seconds is None and both.rows[1].reached is None


def test_a_score_that_is_never_reached_is_said_so(make_run):
    history = [[50, 10.0, 0.55]]
    never = trained(make_run(), 32.0, history, goal=0.9)
    assert tables([never])[0].rows[0].reached is None
    other = trained(make_run(), 32.0, history, goal=0.5)
    other[0]["training"]["multi_task"] = {"seconds": 5.0, "history": [[50, 1.0, 0.4]]}
    made = markdown(tables([other]))
    assert "| 32 | 50, 10 |" in made and "| 5 | never |" in made and "| – | – |" in made


def test_runs_made_before_training_was_timed_have_no_such_columns(make_run):
    assert "training, s" not in markdown(tables([make_run()]))
