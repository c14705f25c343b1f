import re

import pandas
import pytest
import yaml

from metalingua.__main__ import main
from metalingua.result.across import across
from metalingua.result.layout import as_markdown
from metalingua.result.run import RunDirectory, RunError


@pytest.fixture
def kept(tmp_path, make_run):
    """kept(name, shots, seed, accuracy) -> a done run of one target and one learner, every episode with that score."""

    def make(name, shots, seed, accuracy, target="imdb", episodes=60, **config):
        result, frame = make_run(0, episodes)
        result |= {"seed": seed, "settings": {"maml": result["settings"]["maml"] | {"label": "MAML"}}}
        result["targets"] = {target: result["targets"][target]}
        frame = frame[(frame.learner == "maml") & (frame.target == target)].assign(accuracy=accuracy)
        run = RunDirectory(tmp_path / "runs" / f"{name}{shots}{seed}{target}{len(config)}")
        run.finish(result, frame)
        run.config.write_text(yaml.safe_dump({"name": name, "task": {"shots": shots}, "seed": seed, **config}))
        return run.path

    return make


def table(paths, **how):
    return as_markdown(across(paths, **{"rows": ["name"], "columns": ["task.shots"], **how})).splitlines()


def test_rows_columns_and_intervals_by_hand(kept):
    paths = [kept("a", 5, seed, score) for seed, score in enumerate([0.7, 0.8, 0.9])]
    paths += [kept("a", 16, 0, 0.95), *(kept("b", 5, seed, 0.5) for seed in (0, 1, 2))]
    # t with 2 degrees of freedom: 4.3027 * 10 / sqrt(3), and no accuracy is above 100
    assert table(paths) == [
        "| | IMDb, shots 5 | IMDb, shots 16 |",
        "| --- | ---: | ---: |",
        "| a · MAML | 80.0 [55.2, 100.0] | 95.0 |",
        "| b · MAML | 50.0 [50.0, 50.0] | – |",
        "",
        "Test accuracy, %; 95 % t interval over 1 to 3 runs a cell, which differ in seed.<br>",
        "60 test episodes a target and run.<br>",
        "Run 000000000000; commit not recorded.",
    ]


def test_differences_are_paired_by_repetition(kept):
    paths = [kept("a", 5, seed, score + 0.1) for seed, score in enumerate([0.5, 0.6, 0.7])]
    paths += [kept("b", 5, seed, score) for seed, score in enumerate([0.5, 0.6, 0.7])]
    paths += [kept("c", 5, seed, score) for seed, score in enumerate([0.7, 0.6, 0.5])]  # the same mean, other seeds
    made = table(paths, minus="b · MAML")
    assert made[2] == "| a · MAML | **+10.0 [+10.0, +10.0]** |"
    assert made[3].startswith("| c · MAML | 0.0 [−") and "b · MAML" not in made[2] + made[3]
    assert made[5].startswith("Test accuracy less that of “b · MAML”, points, paired by seed; bold")
    assert made[7].startswith(
        "p: exact sign-flip test over 3 runs, Holm over 2 differences. A sign-flip test over 3 runs"
    )
    assert "here it can find nothing; that takes 7 runs" in made[7] and made[8].startswith("Run 000000000000; commit")
    with pytest.raises(RunError, match="no row is called 'd'; there is 'a · MAML'"):
        table(paths, minus="d")


def test_a_star_is_a_p_of_005_or_less_after_holm(kept):
    close, paths = [0.02, 0.03, -0.01, 0.02, -0.02, 0.02, 0.01], []
    for seed, off in enumerate(close):
        scores = {"a": 0.7 + off / 10, "b": 0.6, "c": 0.6 + off}
        paths += [kept(name, 5, seed, score) for name, score in scores.items()]
    made = table(paths, minus="b · MAML")
    assert made[2].startswith("| a · MAML | **+10.1 [") and made[2].endswith(r"**\* |")  # p: 2 of 128 flips, twice
    assert made[3].startswith("| c · MAML | +1.0 [") and "*" not in made[3]
    assert r"Holm over 2 differences. \*: p is 0.05 or less after Holm." in made[7]


def test_repetitions_may_be_splits_of_classes(kept):
    paths = [
        kept("a", 5, 0, 0.6, classes={"meta_test": ["x"]}),
        kept("a", 5, 0, 0.8, classes={"meta_test": ["y"]}, more=1),
    ]
    assert "| a · MAML | 70.0 [" in table(paths, over=["seed", "classes"])[2]
    with pytest.raises(RunError, match="another run has the same row, column and seed"):
        table(paths)


@pytest.fixture
def several(tmp_path, make_run):
    """A run of three targets, of 4, 4 and 8 shots, and one learner."""
    result, frame = make_run(0)
    about, frame = result["targets"]["imdb"], frame[(frame.learner == "maml") & (frame.target == "imdb")]
    scores = {"one": (0.6, 4), "two": (0.7, 4), "more": (0.9, 8)}
    result |= {"targets": {name: about | {"title": name, "shots": shots} for name, (_, shots) in scores.items()}}
    run = RunDirectory(tmp_path / "run")
    run.finish(
        result, pandas.concat([frame.assign(target=name, accuracy=score) for name, (score, _) in scores.items()])
    )
    run.config.write_text(yaml.safe_dump({"name": "a", "task": {"shots": 5}, "seed": 0}))
    return run.path


def test_the_mean_over_targets(several):
    made = table([several], mean=True, learners=["maml"])
    assert made[0] == "| | shots 5 |" and made[2] == "| a · MAML, second order | 73.3 |"
    assert made[-2] == "60 test episodes a target and run, mean over 3 targets.<br>"


def test_a_metric_beside_the_targets_own_can_be_asked_for(several):
    path = several / "episodes.parquet"
    frame = pandas.read_parquet(path)
    frame.assign(balanced_accuracy=frame["accuracy"] / 2).to_parquet(path)
    made = table([several], mean=True, learners=["maml"], metric="balanced_accuracy")
    assert float(made[2].split("|")[2]) == pytest.approx(73.3 / 2, abs=0.1)
    assert "Test balanced accuracy, %, of one run a cell.<br>" in made
    with pytest.raises(RunError, match="no metric 'rmse'; it has accuracy, balanced_accuracy"):
        table([several], metric="rmse")


def test_columns_may_be_facts_of_the_targets(several):
    made = table([several], mean=True, learners=["maml"], columns=["target.shots"])
    assert made[0] == "| | shots 4 | shots 8 |" and made[2] == "| a · MAML, second order | 65.0 | 90.0 |"
    assert made[-2] == "60 test episodes a target and run, mean over 1/2 targets.<br>"
    assert table([several], learners=["maml"])[0] == "| | more, shots 5 | one, shots 5 | two, shots 5 |"


def test_scores_are_printed_as_their_metric_is(kept):
    made = table([kept("a", 5, 1, 0.6, target="stars")])
    assert re.fullmatch(r"\| a · MAML \| 1\.\d{3} \|", made[2])
    assert "Test RMSE, rating points, of one run a cell.<br>" in made


def test_what_cannot_stand_in_one_table_is_refused(kept):
    one = kept("a", 5, 0, 0.6)
    with pytest.raises(RunError, match="stars is judged by rmse; this table is of accuracy"):
        table([one, kept("a", 5, 1, 0.6, target="stars")])
    with pytest.raises(RunError, match=r"runs of \[30, 60\] test episodes"):
        table([one, kept("a", 5, 1, 0.6, episodes=30)])
    with pytest.raises(RunError, match="its config has no value at model.tuning"):
        table([one], rows=["model.tuning"])
    with pytest.raises(RunError, match="no run has a learner ridge; there is maml"):
        table([one], learners=["ridge"])


def test_the_command_prints_it_or_puts_it_into_a_page(kept, tmp_path, capsys):
    kept("a", 5, 0, 0.6)
    words = ["across", str(tmp_path / "runs"), "--rows", "name", "--columns", "task.shots"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "| a · MAML | 60.0 |" in printed
    page = tmp_path / "README.md"
    page.write_text("<!-- table:main -->\n<!-- end -->\n")
    assert main([*words, "--into", str(page), "--name", "main"]) == 0
    assert printed.strip() in page.read_text()
