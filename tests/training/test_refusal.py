"""What learners cannot do, said before anything is trained."""

from copy import copy
from dataclasses import replace

import pytest
import tiny

from metalingua.error import UserError
from metalingua.model.lstm import LstmEncoder
from metalingua.result.identity import plain
from metalingua.training import refusal
from metalingua.training.learners import learner_name, learners, left_out
from metalingua.training.reading import read
from metalingua.training.refusal import offered, refuse_or_go_on

ALONE = ["compare=null", "reference=[]", "~learner.tuned"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def tasks(folder):
    """All of two ways."""
    return read(tiny.compose(folder)).tasks


def with_more(tasks, split="meta_test", **changes):
    """`tasks`, and in `split` one more: the first of it, changed."""
    more = replace(tasks.splits[split][0], name="more", **changes)
    found = copy(tasks)
    found.splits = {**tasks.splits, split: [*tasks.splits[split], more]}
    return found


RATED, THREE = {"scale": (1.0, 5.0)}, {"ways": 3}


def composed(folder, *words):
    return plain(tiny.compose(folder, *words))


def said(folder, tasks, *words):
    """The refusal, as lines; [] if there is none."""
    try:
        refuse_or_go_on(composed(folder, *words), tasks)
    except UserError as error:
        return str(error).split("\n  - ")[1:]
    return []


def able(lines):
    """The names in the way out."""
    return lines[-1].partition("these can: ")[2].partition("; or")[0].split(", ")


def test_what_fits_is_not_refused_and_no_other_learner_is_asked(folder, tasks, monkeypatch):
    monkeypatch.setattr(refusal, "offered", lambda config: pytest.fail("asked"))
    assert said(folder, tasks) == []


def test_a_problem_that_a_learner_cannot_learn_names_those_that_can(folder, tasks):
    lines = said(folder, with_more(tasks, **RATED), *ALONE, "learner=proto_net")
    assert lines[0] == "learner refuses task.meta_test.more: a number has no classes, so no prototypes"
    assert {"majority", "single_task", "ridge", "rules"} <= set(able(lines))
    # they have no head of it, or no number to answer with
    assert not {"maml", "proto_net", "tfidf", "pooled"} & set(able(lines))
    assert "~learner@compare.NAME" in lines[-1] and "~task.SPLIT.NAME" in lines[-1]


def test_classes_without_names_are_refused_by_what_reads_names(folder, tasks):
    lines = said(folder, tasks, *ALONE, "learner=named_proto_net")
    assert lines[0].startswith("learner refuses task.meta_train.stars_polarity: it reads what classes are called, and")
    assert "learner=proto_net" in lines[0] and "corpus.label_words" in lines[0]
    assert "proto_net" in able(lines) and "named_proto_net" not in able(lines)
    worded = copy(tasks)
    worded.splits = {**tasks.splits, "meta_train": tasks.splits["meta_train"][:1]}
    assert said(folder, worded, *ALONE, "learner=named_proto_net") == []


def test_only_what_is_trained_must_learn_the_tasks_of_meta_training(folder, tasks):
    more = with_more(tasks, "meta_train", **RATED)
    lines = said(folder, more, "learner=proto_net", "~learner.tuned")
    assert len(lines) == 2 and lines[0].startswith("learner refuses task.meta_train.more: ")
    assert {"maml", "tfidf", "multi_task"} <= set(able(lines)) and "proto_net" not in able(lines)
    assert said(folder, more) == []


def test_more_ways_than_a_trained_head_has_are_refused(folder, tasks):
    more = with_more(tasks, **THREE)
    lines = said(folder, more, *ALONE)
    assert lines[0] == (
        "learner refuses task.meta_test.more: it needs a trained head of classification_3; "
        "meta-training has classification_2"
    )
    assert {"proto_net", "single_task", "tfidf", "ridge"} <= set(able(lines))
    assert not {"maml", "fomaml", "multi_task", "pooled"} & set(able(lines))
    assert said(folder, more, *ALONE, "learner=proto_net") == []
    # with a task of meta-training that has the head, all can
    assert said(folder, with_more(more, "meta_train", **THREE), *ALONE) == []


def test_those_in_the_compare_list_are_asked_too_and_all_are_named(folder, tasks):
    lines = said(folder, with_more(tasks, **THREE))
    keys = [line.partition(" refuses ")[0] for line in lines[:-1]]
    assert keys == ["learner", "compare.unadapted", "compare.multi_task"]


def test_second_order_through_a_model_without_it_is_refused(folder, tasks, monkeypatch):
    assert said(folder, tasks, *ALONE) == []
    monkeypatch.setattr(LstmEncoder, "derivatives", 1)
    lines = said(folder, tasks, *ALONE)
    assert lines[0] == (
        "learner refuses the model: it is meta-trained by derivatives of order 2, and model has no derivative above "
        "order 1"
    )
    assert {"fomaml", "proto_net", "reptile", "multi_task"} <= set(able(lines)) and "maml" not in able(lines)
    assert said(folder, tasks, *ALONE, "learner=fomaml") == []


def test_where_no_learner_can_it_says_so(folder, tasks, monkeypatch):
    monkeypatch.setattr(refusal, "offered", lambda config: iter(()))
    lines = said(folder, with_more(tasks, **THREE), *ALONE)
    assert lines[-1].startswith("no learner of conf/learner can; or take the learner out")


def test_every_yaml_is_offered_as_the_run_would_have_it(folder):
    found = dict(offered(composed(folder)))
    assert list(found) == sorted(path.stem for path in (tiny.REPO / "conf/learner").glob("*.yaml"))
    assert found["maml"]["inner"]["_target_"].endswith("GradientDescent") and found["fomaml"]["order"] == 1


def test_whose_parameters_to_start_from_must_be_there(folder, tasks):
    (line,) = said(folder, tasks, *ALONE, "learner=nearest_centroid")
    assert line.startswith("learner.start is multi_task: compare.multi_task is not there")
    (line,) = said(folder, tasks, *ALONE, "learner=unadapted")
    assert "learner.start is trained" in line and "meta-learned, 0 steps trains nothing" in line
    (line,) = said(folder, tasks, "compare.multi_task_finetuned.start=majority")
    assert line.startswith("compare.multi_task_finetuned.start is majority: compare.majority trains nothing")
    assert said(folder, tasks, "learner=nearest_centroid", "~learner.tuned") == []


def test_entries_that_would_say_nothing_beside_the_runs_own_learner_are_left_out(folder, tasks):
    def gone(*words):
        config = composed(folder, *words, "~learner.tuned")
        found = left_out(config)
        kept = [name for name in config["compare"] if name not in found]
        assert list(learners(config)) == list(dict.fromkeys([learner_name(config["learner"]), *kept]))
        return found

    assert gone() == gone("learner=fomaml") == {}
    # no head is trained, so none can be judged as it is
    assert gone("learner=proto_net") == {"unadapted": "it judges a meta-learned head as it is, and ProtoNet has none"}
    assert gone("learner=warp") == {
        "unadapted": "it judges the model without the layers that warp layers (T-Net) adds to it"
    }
    tuned = ["+learner@compare.adapted=unadapted", "compare.adapted.steps=2"]
    assert set(gone("learner=proto_net", *tuned)) == {"unadapted"}  # its encoder is trained
    # parameters that nobody trained
    assert set(gone("learner=single_task", *tuned)) == {"unadapted", "adapted"}
    # itself; the same name for another is a mistake
    assert gone("learner=multi_task")["multi_task"] == "it is the run's own learner"
    assert set(gone("learner=multi_task", "compare.multi_task.label=other")) == {"unadapted"}
    lines = said(folder, tasks, "learner=multi_task", "~learner.tuned", "compare.multi_task.label=other")
    assert lines == ["compare.multi_task has the name of the run's own learner: give it another, compare.NAME"]
