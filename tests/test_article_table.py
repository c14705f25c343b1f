"""experiments/0006_article_table: its tables and its figure are those of its kept runs, and say what they should."""

import importlib.util
import math
import shutil
from pathlib import Path

import pandas
import pytest

from metalingua.result.run import RunError

FOLDER = Path(__file__).parents[1] / "experiments" / "0006_article_table"
spec = importlib.util.spec_from_file_location("curve", FOLDER / "curve.py")
curve = importlib.util.module_from_spec(spec)
spec.loader.exec_module(curve)

SCORES = {  # learner -> labels -> accuracy of each seed
    "single-task": {10: [50, 52, 51], 100: [60, 62, 61], 1000: [80, 82, 81]},
    "MAML": {10: [60, 61, 62], 100: [66, 66.5, 67], 1000: [79, 83, 81]},
}


def frame(scores=SCORES, task="IMDb"):
    rows = [
        {"learner": learner, "task": task, "labels": n, "seed": seed, "accuracy": float(score),
         "balanced_accuracy": score / 2, "seconds": n / 100, "steps": n / 10 if learner == "MAML" else math.nan}
        for learner, each in scores.items() for n, seeds in each.items() for seed, score in enumerate(seeds)
    ]  # fmt: skip
    return pandas.DataFrame(rows)


def cells(table, row):
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {row} |")]
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_a_row_is_a_learner_and_a_cell_its_mean_over_seeds():
    table = curve.by_labels(frame(), "IMDb")
    assert table.splitlines()[0] == "| learner | 10 | 100 | 1,000 |"
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == [
        "MAML",
        "single-task",
    ]  # best at 10 first
    assert cells(table, "single-task")[0] == "51.0 [48.5, 53.5]"  # 4.303 / sqrt(3) = 2.48


def test_differences_are_paired_and_bold_where_sure():
    table = curve.by_labels(frame(), "IMDb", minus="single-task")
    assert cells(table, "MAML")[:2] == ["**+10.0 [+7.5, +12.5]**", "**+5.5 [+3.3, +7.7]**"]
    assert cells(table, "MAML")[2] == "0.0 [−2.5, +2.5]"  # −1, +1 and 0
    assert "single-task" not in table


def test_what_one_seed_has_stands_alone_and_what_none_has_is_a_dash():
    some = {"single-task": {10: [50, 51], 5000: [85]}, "MAML": {10: [60, 61]}}
    table = curve.by_labels(frame(some), "IMDb")
    assert cells(table, "single-task")[1] == "85.0" and cells(table, "MAML")[1] == "–"


def test_where_a_score_is_reached_on_a_logarithmic_axis():
    line = {10: 50.0, 1000: 70.0}
    assert curve.reached(line, 60) == pytest.approx(100)
    assert curve.at(line, 100) == pytest.approx(60)
    assert curve.reached(line, 70) == pytest.approx(1000) and curve.reached(line, 71) is None
    assert curve.reached(line, 45) == 10 and curve.at(line, 9) is None
    assert curve.reached({10: 50.0, 100: 80.0, 1000: 60.0}, 80) == pytest.approx(100)  # the first time


def test_what_is_reached_with_the_labels_that_single_task_training_needs():
    table = curve.crossings(pandas.concat([frame(), frame(task="Amazon")]))
    imdb = next(line for line in table.splitlines() if line.startswith("| IMDb, 78 % | MAML"))
    need = 100 * 10 ** ((78 - 61) / 20)
    expected = 66.5 + (81 - 66.5) * math.log10(need / 100)
    assert imdb.endswith(f"| {expected:.1f} |")
    low = frame({"single-task": {10: [50], 100: [60]}, "MAML": {10: [80], 100: [82]}})
    table = curve.crossings(pandas.concat([low, low.assign(task="Amazon")]))
    assert "| IMDb, 78 % | single-task | not with 100 | – |" in table and "| MAML | 10 or fewer | – |" in table


def test_what_the_fewest_labels_give_against_what_single_task_training_takes_for_it():
    table = curve.saved(pandas.concat([frame(), frame(task="Amazon")]))
    line = next(line for line in table.splitlines() if line.startswith("| IMDb | MAML"))
    # 61 with 10 labels: single-task training has it with 100
    assert line == "| IMDb | MAML | 10 | 61.0 | 1; 0.10 s | 100 | no steps; 1.0 s |"
    better = frame({**SCORES, "MAML": {10: [90], 100: [91], 1000: [92]}})
    assert "| 90.0 | 1; 0.10 s | not with 1,000 | – |" in curve.saved(
        pandas.concat([better, better.assign(task="Amazon")])
    )


def test_costs_are_of_learners_that_take_steps():
    table = curve.cost(frame())
    assert cells(table, "MAML") == ["1; 0.10 s", "10; 1.0 s", "100; 10.0 s"]
    assert "single-task" not in table


def test_the_unbalanced_tasks_are_a_mean_of_tasks():
    both = pandas.concat([frame({"MAML": {8: [60, 70]}}, "ARSC a"), frame({"MAML": {8: [80, 90]}}, "ARSC b"), frame()])
    table = curve.unbalanced(both)
    assert "mean of 2 tasks" in table and cells(table, "MAML")[0].startswith("75.0 [") and "single" not in table


KEPT = sorted(path.parent for path in FOLDER.glob("runs/*/*/result.json"))


def test_the_same_question_answered_twice_is_refused(tmp_path):
    for name in ("one", "two"):
        shutil.copytree(KEPT[0], tmp_path / name)
    with pytest.raises(RunError, match="two runs answer the same question: .*'seed'"):
        curve.scores([tmp_path / "one", tmp_path / "two"])
    assert len(curve.scores([tmp_path / "one"]))


def test_what_is_printed_is_what_the_kept_runs_say(tmp_path):
    shutil.copy(FOLDER / "README.md", tmp_path)
    for some, same in ((KEPT, True), (KEPT[1:], False)):
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        for run in some:
            shutil.copytree(run, tmp_path / "runs" / run.parent.name / run.name)
        shutil.copytree(FOLDER / "step_size", tmp_path / "step_size", dirs_exist_ok=True)
        curve.write(tmp_path)
        assert ((tmp_path / "README.md").read_text() == (FOLDER / "README.md").read_text()) is same
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_no_kept_run_names_a_place_on_a_machine():
    for run in KEPT:
        assert "/work" not in (run / "config.yaml").read_text() and "/home" not in (run / "config.yaml").read_text()
