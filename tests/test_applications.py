"""experiments/0007_applications: its own two tables, by hand on made-up episodes."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas
import pytest

from metalingua.result.metric import METRICS

FOLDER = Path(__file__).parents[1] / "experiments" / "0007_applications"


def module(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


stream, summary = module("stream"), module("summary")

LABELS = {"meta_stream": "meta-learned", "multi_task_stream": "multi-task", "single_task": "from scratch",
          "unadapted": "0 steps", "multi_task": "as it is"}  # fmt: skip
TARGETS = ("en_ja_50", "en_ja_800", "en_de_after_50", "en_de_after_800")
FOUND = {"unadapted": (0, 0, 6, 6), "multi_task": (0, 0, 8, 8), "meta_stream": (2, 4, 5, 3),
         "multi_task_stream": (1, 3, 6, 2), "single_task": (0, 2, 0, 0)}  # n-grams right, of 10  # fmt: skip


@pytest.fixture
def run(monkeypatch):
    """Two equal episodes a target; of `right` of 10 n-grams of each order, chrF is right / 10."""
    rows = [
        {"learner": learner, "target": target, "episode": episode, "chrf": [10.0, 10.0, float(right)] * 6,
         "adapt_seconds": 0.4 if target.endswith("800") else 0.1}
        for learner, each in FOUND.items() for target, right in zip(TARGETS, each, strict=True) for episode in (0, 1)
    ]  # fmt: skip
    result = {"targets": dict.fromkeys(TARGETS), "settings": {name: {"label": label} for name, label in LABELS.items()}}
    monkeypatch.setattr(stream, "read_run", lambda path: (result, pandas.DataFrame(rows)))
    return Path("run")


def test_a_stream_begins_where_its_start_is_and_what_it_loses_is_told(run):
    frame = stream.scores(run)
    lines = {line.split("|")[1].strip(): line for line in stream.table(frame).splitlines()}
    assert lines["learner"].count("|") == 10
    assert lines["meta-learned"] == "| meta-learned | 0.0 | 20.0 | 40.0 | 60.0 | 50.0 | 30.0 | 30.0 | 0.5 |"
    assert lines["multi-task"] == "| multi-task | 0.0 | 10.0 | 30.0 | 80.0 | 60.0 | 20.0 | 60.0 | 0.5 |"
    assert (
        lines["from scratch"] == "| from scratch | 0.0 | 0.0 | 20.0 | 0.0 | 0.0 | 0.0 | 0.0 | 0.5 |"
    )  # it knew nothing
    assert np.isclose(METRICS["chrf"].per_episode([[10.0, 10.0, 2.0] * 6])[0], 0.2)


def test_of_several_seeds_it_is_their_mean(run, monkeypatch, tmp_path):
    for name in ("one", "two"):
        (tmp_path / "runs/translation_stream" / name).mkdir(parents=True)
        (tmp_path / "runs/translation_stream" / name / "result.json").touch()
    one, scored = stream.scores(run), stream.scores
    monkeypatch.setattr(stream, "scores", lambda path: scored(path).assign(chrf=one.chrf + 2 * (path.name == "two")))
    pandas.testing.assert_frame_equal(stream.mean(tmp_path), one.assign(chrf=one.chrf + 1), check_dtype=False)


def test_the_figure_has_a_line_a_stream(run, tmp_path):
    stream.draw(stream.scores(run), tmp_path / "stream.png")
    assert (tmp_path / "stream.png").stat().st_size > 10_000


def application(seed=0, gain=0.1, spread=0.0):
    """A run of two targets and twelve episodes each; ANIL, which meta-validation likes, is `gain` ahead of fine-tuning,
    MAML is not liked and is far ahead."""
    dice = np.random.default_rng(seed)
    validation = {"maml": 0.6, "anil": 0.7, "multi_task": 0.9, "multi_task_finetuned": 0.9, "single_task": 0.5}
    level = {"maml": 0.9, "anil": 0.5 + gain, "multi_task": 0.5, "multi_task_finetuned": 0.5, "single_task": 0.4}
    targets = {name: {"metric": "accuracy", "title": name, "episodes": 12} for name in ("a", "b")}
    rows = [
        {"learner": learner, "target": target, "episode": i,
         "accuracy": score + spread * dice.normal() * (learner == "anil")}
        for learner, score in level.items() for target in targets for i in range(12)
    ]  # fmt: skip
    settings = {name: {"label": name.upper(), "validation": score} for name, score in validation.items()}
    training = {name: {} for name in ("maml", "anil", "multi_task")}
    result = {"experiment": "rows", "hash": str(seed), "seed": seed, "learner": "maml", "reference": [], "data": {},
              "targets": targets, "settings": settings, "training": training,
              "cost": {"wall_seconds": 120}}  # fmt: skip
    return result, pandas.DataFrame(rows)


def test_the_learner_of_a_row_is_chosen_on_meta_validation_and_never_multi_task_training():
    assert summary.meta_learner([application()]) == "anil"


def test_a_row_has_paired_differences_and_no_interval_where_all_episodes_are_one():
    (row,) = summary.rows([application()])
    assert row == ("`rows`", "2 × 12", "accuracy, %", "ANIL", "60.0", "40.0", "50.0", "+20.0", "+10.0",
                   "few episodes", "1, 2")  # fmt: skip


def test_a_difference_is_bold_where_its_interval_is_off_zero_over_episodes_or_over_seeds():
    (one,) = summary.rows([application(spread=0.01)])
    assert one[8].startswith("**+1") and one[8].endswith("]**") and one[9] == "ahead"
    (less,) = summary.rows([application(gain=-0.1, spread=0.01)])
    assert less[9] == "behind"
    (level,) = summary.rows([application(gain=0.0, spread=0.3)])
    assert level[8].count("**") == 0 and "[−" in level[8] and level[9] == "level"
    (several,) = summary.rows([application(seed, gain=0.1 * seed) for seed in (0, 1, 2)])
    assert several[8] == "+10.0 [−14.8, +34.8]" and several[9:] == ("level", "3, 2")  # 4.303 * 10 / sqrt(3)


def test_the_page_has_the_tables_of_the_kept_runs():
    page = (FOLDER / "README.md").read_text()
    for name, told in (
        ("summary", summary.table(FOLDER / "runs")),
        ("full", summary.table(FOLDER / "full")),
        ("stream", stream.table(stream.mean(FOLDER))),
    ):
        assert f"<!-- table:{name} -->\n{told.rstrip()}\n<!-- end -->" in page, f"{name}: its script writes it anew"
