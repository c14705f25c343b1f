"""Every learner of conf/learner in whole runs. A new yaml is covered without touching this test."""

import json

import pandas
import pytest
import tiny

ALL = sorted(path.stem for path in (tiny.REPO / "conf/learner").glob("*.yaml"))
OTHER_KINDS = {
    "crf",
    "dictionary",
    "hmm",
    "overlap",
    "word_alignment",
}  # they tag words, answer questions, translate: tests/learner has their runs
NAMES = [name for name in ALL if name not in OTHER_KINDS]
QUICK = ["steps=4", "validate_every=4", "~learner.tuned"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def configs(folder):
    """Every learner's name and config."""
    from metalingua.result.identity import plain
    from metalingua.training.refusal import offered

    return dict(offered(plain(tiny.compose(folder))))


def test_those_left_out_are_those_that_classify_nothing(configs):
    from metalingua.problem.classification import Classification
    from metalingua.training.learners import build

    assert {name for name in ALL if build(configs[name]).refuses(Classification(2))} == OTHER_KINDS


def test_all_of_them_are_compared_in_one_run_and_stand_in_its_table(folder, configs):
    has = {"unadapted", "multi_task", "multi_task_finetuned", "single_task", "tfidf", "majority"}
    added = [f"+learner@compare.{name}={name}" for name in NAMES if name not in has | {"maml"}]
    worded = "~task.meta_train.stars_polarity"  # classes without names, which one of them reads
    code, out, err = tiny.Started(folder, *QUICK, worded, *added, f"paths.outputs={folder}/all").end(600)
    assert (code, err) == (0, ""), err
    (run,) = [
        each.parent for each in folder.glob("all/*/*/result.json") if len(json.loads(each.read_text())["settings"]) > 1
    ]  # noqa: E501
    assert has < set(NAMES)
    rows = pandas.read_parquet(run / "episodes.parquet")
    assert set(rows["learner"]) == set(NAMES)
    assert rows.groupby(["learner", "target"]).size().eq(3).all() and rows["accuracy"].between(0, 1).all()
    table = (run / "table.md").read_text()
    for name in NAMES:
        about = json.loads((run / "result.json").read_text())["settings"][name]
        row = f"| {about['label']}{' †' * about['transductive']} | "
        assert table.count(row) == 3, row  # of both targets, and of what it costs
    assert {name for name in NAMES if f" {configs[name]['label']} †" in table} == {"laplacian_shot", "soft_kmeans"}


def test_those_that_are_not_trained_can_be_a_runs_own_learner(folder, configs):
    from metalingua.training.learners import build, learner_name

    alone = [name for name in NAMES if build(configs[name]).training == "none" and name != "unadapted"]
    assert {"majority", "tfidf", "rules", "pooled", "naive_bayes", "nearest_centroid", "single_task"} <= set(alone)
    gone = [f"~compare.{name}" for name in ("tfidf", "majority", "single_task", "multi_task_finetuned")]
    words = ["-m", "hydra/launcher=basic", f"learner={','.join(alone)}", *gone, *QUICK, "reference=[multi_task]"]
    code, out, err = tiny.Started(folder, *words, f"paths.outputs={folder}/alone").end(600)
    assert (code, err) == (0, ""), err
    found = [json.loads(path.read_text()) for path in folder.glob("alone/*/*/result.json")]
    names = {learner_name(configs[name]) for name in alone}
    assert {each["learner"] for each in found} == names | {"multi_task"} and len(found) == len(alone) + 1
    assert out.count("Left out: compare.unadapted: it starts from what the run's own learner trained") == len(alone)
    for each in found:
        if each["learner"] != "multi_task":
            assert list(each["settings"]) == [each["learner"], "multi_task"]
