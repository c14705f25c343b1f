import numpy as np
import pytest

from metalingua.error import UserError
from metalingua.problem.classification import Classification
from metalingua.problem.regression import Regression
from metalingua.task.task import Rule, make_task

RATINGS = np.array([-4.0, -1.0, -0.999, 0.0, 1.0, 1.001, 4.0])


def rated(**rule):
    ways = rule.pop("ways", 2)
    return make_task("shops", Rule("shops", **rule), domain="shop", texts=[f"text {i}" for i in range(7)], labels=None,
                     ratings=RATINGS, label_set=None, scale=[-4, 4], ways=ways)  # fmt: skip


def labelled(labels, label_set=("bad", "so so", "good")):
    return make_task("films", Rule("films", ways=2), domain="film", texts=[f"text {i}" for i in range(len(labels))],
                     labels=labels, ratings=None, label_set=label_set, scale=None, ways=5)  # fmt: skip


@pytest.mark.parametrize(
    ("cuts", "labels"),
    [
        ([0], [0, 0, 0, 0, 1, 1, 1]),
        ([1], [0, 0, 0, 0, 0, 1, 1]),
        ([-1, 1], [0, 0, 1, 1, 1, 2, 2]),
        ([-1, 0, 1], [0, 0, 1, 1, 2, 3, 3]),
    ],
)
def test_a_rating_on_a_cut_belongs_to_the_class_below(cuts, labels):
    task = rated(cuts=cuts)
    assert task.labels.tolist() == labels and task.labels.dtype == np.int64
    assert len(task.classes) == len(cuts) + 1 and task.scale is None
    assert isinstance(task.problem, Classification)


def test_classes_are_named_by_their_ends():
    assert rated(cuts=[-0.5, 1]).classes == ("-4 to -0.5", "-0.5 to 1", "1 to 4")


def test_the_rating_itself_is_a_regression_on_the_corpus_scale():
    task = rated(rating=True)
    assert task.labels.tolist() == RATINGS.tolist() and task.classes == ()
    assert task.problem == Regression(-4.0, 4.0)


def test_labels_count_in_the_order_of_the_corpus_label_set():
    task = labelled(["good", "bad", "good", "so so"])
    assert task.labels.tolist() == [2, 0, 2, 1] and task.classes == ("bad", "so so", "good")
    assert [each.tolist() for each in task.by_class()] == [[1], [3], [0, 2]]
    assert labelled(["good", "bad"], label_set=("good", "bad")).labels.tolist() == [0, 1]


def test_the_ways_of_a_rule_go_before_those_of_all_tasks():
    assert labelled(["good", "bad"]).problem == Classification(2)
    assert rated(cuts=[-1, 1], ways=3).problem == Classification(3)


def test_a_title_and_a_note_are_what_the_rule_says_or_the_name():
    assert (rated(rating=True).title, rated(rating=True).note) == ("shops", "")
    assert (rated(rating=True, title="Task B").title, rated(rating=True, note="rare").note) == ("Task B", "rare")


def test_a_class_with_too_few_texts_is_named():
    task = labelled(["bad"] * 5 + ["so so"] * 6 + ["good"] * 6)
    task.require("meta_train", 2, 3)
    with pytest.raises(UserError) as caught:
        task.require("meta_train", 2, 4)
    message = str(caught.value)
    assert message.startswith("task.meta_train.films: class 'bad' holds 5 texts; task.shots + task.queries = 6")
    assert "lower one of them, widen the task's share" in message


@pytest.mark.parametrize(("labels", "present"), [(["good"] * 9, "good"), ([], "no text at all")])
def test_a_task_with_one_class_is_named(labels, present):
    with pytest.raises(UserError) as caught:
        labelled(labels).require("meta_test", 1, 1)
    message = str(caught.value)
    assert message.startswith(f"task.meta_test.films has one class ({present}) in corpus films")
    assert "needs two: widen its share, move its cuts, or leave the task out" in message


def test_a_regression_needs_as_many_texts_as_a_classification_episode_takes():
    rated(rating=True, ways=3).require("meta_train", 1, 1)
    with pytest.raises(UserError) as caught:
        rated(rating=True, ways=4).require("meta_train", 1, 1)
    message = str(caught.value)
    assert message.startswith("task.meta_train.shops has 7 texts") and "= 4 * 2 = 8" in message
    assert "task.shots + task.queries" in message and message.endswith("lower one of them")


def test_names_are_the_labels_in_words_where_there_are_words():
    labels = ["card_arrival", "top-up", "so so"]
    assert labelled(labels, labels).names == ("card arrival", "top up", "so so")
    given = dict(domain="", texts=labels, labels=labels, ratings=None, label_set=labels, scale=None, ways=2)
    task = make_task("mine", Rule("mine"), **given, label_words={"top-up": "paying money in"})
    assert task.names == ("card arrival", "paying money in", "so so") and task.classes == tuple(labels)
    assert labelled(["1", "22"], ("1", "22")).names is None and labelled(["1_2", "a"], ("1_2", "a")).names is None
    assert rated(cuts=[0]).names is None and rated(rating=True).names is None
