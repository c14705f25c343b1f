import csv as reader
import io

import numpy
import pytest
from rich.console import Console

from metalingua.result.run import RunError
from metalingua.result.significance import Significance, sign_flip
from metalingua.result.table import csv, latex, markdown, tables, terminal, terminal_cost


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
    assert maml.beside[0].estimate == pytest.approx(maml.score.estimate - 1)
    difference = maml.differences["single_task"]
    assert difference.excludes_zero and difference.n == 60 and 19 < difference.estimate < 21
    assert difference.high - difference.low < 0.5 * (maml.score.high - maml.score.low)  # pairing takes the ease out
    assert single_task.differences["single_task"] is None and single_task.differences["multi_task"].high < 0
    assert (maml.adapt_milliseconds, majority.peak_memory_mib) == (pytest.approx(4.0), None)
    assert stars.rows[0].score.estimate == pytest.approx(1.2, abs=0.03) and not stars.rows[0].beside
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
        assert ("MAML" in text) and ("RMSE" in text) == (table.metric.name == "rmse")
    assert "IMDb: its training half." in printed(tables([make_run()])[0])


def test_markdown_marks_what_excludes_zero(make_run):
    result, episodes = make_run()
    text = markdown(tables([(result, episodes)]))
    row = next(line for line in text.splitlines() if line.startswith("| MAML"))
    assert row.count("**") == 4 and row.count("\\*") == 2 and row.count("|") == 7
    same = episodes.copy()
    for target in ("imdb", "stars"):
        of = same.target == target
        scores = ["accuracy", "rmse"]
        mine = same.loc[of & (same.learner == "maml"), scores].to_numpy()
        same.loc[of & (same.learner == "single_task"), scores] = mine  # no difference at all
    row = next(line for line in markdown(tables([(result, same)])).splitlines() if line.startswith("| MAML"))
    assert row.count("**") == 2 and row.count("\\*") == 1 and "| 0.0 [0.0,\N{NO-BREAK SPACE}0.0] |" in row


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
    assert "| 150 | 34 | – | 125, 25 |" in markdown([both]) and "steps, s to the score of Single-task" in markdown(
        [both]
    )
    assert both.rows[1].training_seconds is None and both.rows[1].reached is None


def test_a_score_that_is_never_reached_is_said_so(make_run):
    history = [[50, 10.0, 0.55]]
    never = trained(make_run(), 32.0, history, goal=0.9)
    assert tables([never])[0].rows[0].reached is None
    other = trained(make_run(), 32.0, history, goal=0.5)
    other[0]["training"]["multi_task"] = {"seconds": 5.0, "history": [[50, 1.0, 0.4]]}
    made = markdown(tables([other]))
    assert "| 32 | – | 50, 10 |" in made and "| 5 | – | never |" in made and "| – | – | – | – |" in made


def test_what_meta_training_computed(make_run):
    runs = [trained(make_run(seed), 30.0, [[50, 10.0, 0.5], [100, 20.0, 0.6]]) for seed in range(3)]
    for (result, _), per_step in zip(runs, (2.0e9, 3.0e9, 9.0e9), strict=True):
        result["training"]["maml"]["flops_per_step"] = per_step
        result["cost"] = {"wall_seconds": 1234.0}
    table = tables(runs)[0]
    assert (table.rows[0].training_steps, table.rows[0].training_flops) == (100, 3.0e11)
    assert table.rows[1].training_flops is None
    made = markdown([table])
    assert "| 100 | 30 | 300 |" in made and "A run took 1,234 s of wall time" in made
    del runs[1][0]["training"]["maml"]["flops_per_step"]  # kept by an older version
    assert tables(runs)[0].rows[0].training_flops is None and "| 100 | 30 | – |" in markdown(tables(runs))
    assert "| – | – | – |" in markdown(tables([make_run()]))


def test_every_difference_has_its_p_and_holm_goes_over_all_of_them(make_run):
    result, episodes = make_run()
    single = (episodes.learner == "majority") & (episodes.target == "imdb")
    other = (episodes.learner == "single_task") & (episodes.target == "imdb")
    dice = numpy.random.default_rng(0)
    episodes.loc[single, "accuracy"] = episodes.loc[other, "accuracy"].to_numpy() + dice.normal(0, 0.1, 60)
    made = tables([(result, episodes)])
    assert made[0].said == (
        "95 % interval over 60 episodes, given this seed; p: sign-flip test over 60 episodes, Holm over 10 differences"
    )  # two references, four learners: 5 pairs on each of 2 targets
    maml, multi_task, single_task, majority = made[0].rows
    assert single_task.significance["single_task"] is None
    assert single_task.significance["multi_task"] == multi_task.significance["single_task"]  # one test, two signs
    chance, found = majority.significance["single_task"], maml.significance["single_task"]
    assert (found.p, found.holm) == (2e-4, 10 * 2e-4) and found.significant and not chance.significant
    differences = [episodes[other].accuracy.to_numpy() - episodes[single].accuracy.to_numpy()]
    assert chance.p == sign_flip(differences)[0] == chance.holm > 0.05  # the largest of all is not adjusted
    only = {**result, "reference": ["single_task"]}
    assert tables([(only, episodes)])[0].rows[0].significance["single_task"].holm == 6 * 2e-4
    assert tables([({**result, "reference": []}, episodes)])[0].test == ""


def test_seeds_that_can_find_nothing_are_said_so(make_run):
    made = tables([make_run(seed) for seed in range(3)])
    assert made[0].said.endswith("p: exact sign-flip test over 3 seeds, Holm over 10 differences")
    assert made[0].rows[0].significance["single_task"] == Significance(0.25, 1.0)
    (note,) = (note for note in made[0].notes if "sign-flip" in note)
    assert note == (
        "A sign-flip test over 3 seeds cannot go below p = 0.25 (two-sided), after Holm over 10 differences not below "
        "1: here it can find nothing; that takes 9 seeds."
    )
    assert "\\*" not in markdown(made) and not any("sign-flip" in note for note in tables([make_run()])[0].notes)


def test_few_episodes_are_warned_of(make_run):
    assert any("over 9 episodes an interval is too narrow" in note for note in tables([make_run(0, 9)])[0].notes)
    assert not any("too narrow" in note for note in tables([make_run(0, 10)])[0].notes)


def test_each_number_is_traced_to_its_runs(make_run):
    runs = [make_run(seed) for seed in range(2)]
    for (result, _), torch in zip(runs, ("2.13.0", "2.14.0"), strict=True):
        result |= {
            "commit": "a" * 40,
            "versions": {"torch": torch, "python": "3.11.7"},
            "data": {"imdb": "c0ffee" * 10},
        }
    runs[1][0]["commit"] = "b" * 40 + "+" + "c" * 12  # not committed
    made = tables(runs)
    assert markdown(made).splitlines()[-1] == (
        "Runs 000000000000, 000000000001; commit aaaaaaa, bbbbbbb+cccccccccccc; torch 2.13.0,2.14.0."
    )
    line = next(reader.DictReader(io.StringIO(csv(made))))
    assert line["runs"] == "000000000000 000000000001" and line["commits"].split()[0] == "a" * 40
    assert line["data"] == "imdb=c0ffeec0ffee" and line["versions"] == "torch=2.13.0,2.14.0 python=3.11.7"
    assert markdown(tables([make_run()])).endswith("Run 000000000000; commit not recorded.\n")


def test_what_targets_share_is_said_once(make_run):
    made = markdown(tables([make_run()]))
    assert made.count("Differences are paired") == 1 and made.count("IMDb: its training half.") == 1
    assert made.count("**Cost**") == 1 and made.index("**Stars**") < made.index("**Cost**")


def test_latex_has_a_column_of_p_for_each_difference(make_run):
    made = latex(tables([make_run()]))
    assert made.startswith("% needs \\usepackage{booktabs}\n") and made.count("\\toprule") == 3
    head, row = (next(line for line in made.splitlines() if line.startswith(start)) for start in ("learner", "MAML"))
    assert head.count("&") == row.count("&") == 7 and head.count("& p &") == 2  # 3, two of each reference, ms
    assert "\\textbf{+20." in row and "*" in row and " & 0.002 & " in row
    assert r"Majority class $\dagger$" in made and r"accuracy, \% &" in made and "Run 000000000000" in made
    assert set(made) <= {chr(code) for code in range(128)}  # nothing that a plain LaTeX may lack


def test_the_cost_in_a_terminal_fits_100_columns(make_run):
    run = trained(make_run(), 32.0, [[50, 10.0, 0.65]])
    console = Console(width=100, file=io.StringIO())
    console.print(terminal_cost(tables([run])))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 100 and "…" not in text
    assert "1,234,567" in text and "50, 10" in text and "Run 000000000000" in text
