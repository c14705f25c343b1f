"""A test set: the same queries in every episode of a task, for every seed, number of labels and learner."""

import numpy as np
import pytest
import torch
from toy import TinyCorpus, ratings, reviews

from metalingua.error import UserError
from metalingua.task.leakage import LeakageError
from metalingua.task.tasks import Tasks
from metalingua.text.word import WordTokenizer

SETTINGS = {"ways": 2, "shots": 2, "queries": 3, "max_length": 6, "label_order": "fixed", "held_out": "domain",
            "leakage": "fail"}  # fmt: skip
TWEETS = {"corpus": "tweets", "fixed_queries": {"corpus": "test", "each": 6}}


def corpora(**more):
    shops, kinds = reviews("shop", 60, labels=("bad", "so so", "good"))
    return {"films": TinyCorpus("films", *reviews("film", 60)), "tweets": TinyCorpus("tweets", *reviews("tweet", 60)),
            "shops": TinyCorpus("shops", shops, rating=list(ratings(kinds))), **more}  # fmt: skip


def build(held=None, *, meta_test, **settings):
    halves = [{"films": {"corpus": "films", "share": share}} for share in ([0, 0.5], [0.5, 1])]
    return Tasks(
        held or corpora(), halves[0], {"films_late": halves[1]["films"]}, meta_test, **{**SETTINGS, **settings}
    )


def held(*more, domain="tweet test"):
    """The tests' corpora, and beside tweets a test set of them, with `more` texts that are good."""
    texts, labels = reviews("other", 40)
    test = TinyCorpus("test", [*texts, *more], [*labels, *("good" for _ in more)], domain=domain)
    return corpora(test=test)


def read(*more, rule=TWEETS, domain="tweet test", **settings):
    tasks = build(held(*more, domain=domain), meta_test={"tweets": rule, **settings.pop("beside", {})}, **settings)
    tasks.read()
    tasks.encode(WordTokenizer(60))
    return tasks


def queries(tasks, seed, index=0):
    query = tasks.episodes("meta_test", seed)[index].query
    return query.inputs.texts, query.targets.tolist()


def test_queries_are_the_same_for_every_seed_and_number_of_labels_and_supports_are_not():
    few, many = read(), read(rule={**TWEETS, "shots": 20})
    asked = {
        queries(tasks, seed, index) == queries(few, 0) for tasks in (few, many) for seed in (0, 1) for index in (0, 1)
    }
    assert asked == {True}
    supports = {few.episodes("meta_test", seed)[index].support.inputs.texts for seed in (0, 1) for index in (0, 1)}
    assert len(supports) == 4
    drawn = build(
        meta_test={"tweets": {"corpus": "tweets"}}
    ).read()  # the opposite: without them queries are drawn anew
    drawn.encode(WordTokenizer(60))
    assert queries(drawn, 0)[0] != queries(drawn, 1)[0]


def test_there_are_as_many_of_each_class_as_asked_for_with_their_own_labels():
    tasks = read()
    texts, targets = queries(tasks, 0)
    truth = dict(zip(tasks.corpora["test"].texts, tasks.corpora["test"].label, strict=True))
    assert len(set(texts)) == 12 and sum(targets) == 6
    assert [["bad", "good"][target] for target in targets] == [truth[text] for text in texts]
    assert tasks.size(tasks.splits["meta_test"][0]) == (2, 6)


def test_without_a_number_all_are_asked_in_the_proportions_they_have():
    texts, targets = queries(read("w x y", "y z", rule={**TWEETS, "fixed_queries": {"corpus": "test"}}), 0)
    assert len(texts) == 42 and sum(targets) == 22


def test_no_support_text_is_a_query_where_one_corpus_gives_both():
    tasks = read(rule={"corpus": "tweets", "share": [0, 0.5], "fixed_queries": {"share": [0.5, 1]}})
    asked = set(queries(tasks, 0)[0])
    drawn = {text for i in range(200) for text in tasks.episodes("meta_test", 0)[i].support.inputs.texts}
    assert not asked & drawn and asked | drawn == set(tasks.corpora["tweets"].texts)


def test_shares_that_overlap_are_a_leak_and_the_query_stays():
    rule = {"corpus": "tweets", "share": [0, 0.6], "fixed_queries": {"share": [0.4, 1]}}
    with pytest.raises(LeakageError, match="meta_test/tweets: .* ~ fixed queries/tweets"):
        read(rule=rule)
    tasks = read(rule=rule, leakage="drop")
    asked = set(queries(tasks, 0)[0])
    apart = read(rule={**rule, "share": [0, 0.4]})
    assert asked == set(queries(apart, 0)[0])
    assert {*tasks.splits["meta_test"][0].texts} == {*apart.splits["meta_test"][0].texts}


def test_a_support_text_or_a_meta_training_text_like_a_query_is_left_out():
    given = corpora()
    twin, early = given["tweets"].texts[1], given["films"].texts[1]  # good ones
    tasks = read(twin.upper(), early, rule={**TWEETS, "fixed_queries": {"corpus": "test"}}, leakage="drop")
    task = tasks.splits["meta_test"][0]
    assert twin not in task.texts and {twin.upper(), early} <= set(queries(tasks, 0)[0])
    assert early not in {
        text for split in ("meta_train", "meta_validation") for each in tasks.splits[split] for text in each.texts
    }
    assert len(task.texts) == 59 + 42


def test_the_domain_of_the_queries_must_be_new_too():
    with pytest.raises(LeakageError, match="share the domain 'films'"):
        read(domain="films")
    assert read(domain="films", held_out="nothing").splits["meta_test"]


def test_checksums_name_the_corpus_of_the_queries():
    assert read().checksums()["test"] == "checksum of test"
    assert "test" not in build(held(), meta_test={"tweets": {"corpus": "tweets"}}).read().checksums()


def test_labels_in_a_shuffled_order_are_shuffled_for_fixed_queries_too():
    tasks = read(label_order="shuffled")
    orders = set()
    for index in range(20):
        episode = tasks.episodes("meta_test", 0)[index]
        order = tuple(int(np.flatnonzero(episode.support.labels == own)[0] >= 2) for own in (0, 1))
        assert episode.query.targets.tolist() == [order[own] for own in episode.query.labels]
        orders.add(order)
    assert orders == {(0, 1), (1, 0)}


def test_of_fewer_ways_than_classes_only_the_drawn_classes_are_asked():
    rule = {"corpus": "shops", "cuts": [-1, 1], "share": [0, 0.5], "ways": 2, "fixed_queries": {"share": [0.5, 1]}}
    tasks = read(rule=rule)
    for index in range(10):
        episode = tasks.episodes("meta_test", 0)[index]
        assert set(episode.query.labels) == set(episode.support.labels) and set(episode.query.targets.tolist()) == {
            0,
            1,
        }


def test_ratings_have_fixed_queries():
    rule = {"corpus": "shops", "rating": True, "share": [0, 0.5], "fixed_queries": {"share": [0.5, 1]}}
    tasks = read(rule=rule)
    first, second = (tasks.episodes("meta_test", 0)[i] for i in (0, 1))
    assert torch.equal(first.query.targets, second.query.targets) and len(first.support.inputs) == 4
    assert not {*first.support.inputs.texts} & {*first.query.inputs.texts}
    with pytest.raises(UserError, match="ratings have no classes"):
        read(rule={**rule, "fixed_queries": {"share": [0.5, 1], "each": 3}})


def test_what_cannot_be_asked_is_said():
    with pytest.raises(UserError, match=r"fixed_queries\.each is 21, and class 'bad' of test has 20 texts there"):
        read(rule={**TWEETS, "fixed_queries": {"corpus": "test", "each": 21}})
    with pytest.raises(UserError, match=r"tweets\.fixed_queries holds no text"):
        read(rule={**TWEETS, "fixed_queries": {"corpus": "test", "share": [0.5, 0.5]}})
    with pytest.raises(UserError, match=r"fixed_queries\.eech is unknown; fixed queries take corpus, share, each"):
        read(rule={**TWEETS, "fixed_queries": {"corpus": "test", "eech": 1}})
    with pytest.raises(UserError, match=r"class 'bad' holds 30 texts; its shots = 31: lower them"):
        read(rule={**TWEETS, "shots": 31})
    assert read(rule={**TWEETS, "shots": 30}).splits["meta_test"]  # queries take none of them away


def test_a_regression_with_too_few_texts_is_said():
    texts, labels = reviews("few", 6)
    few = TinyCorpus("few", texts, rating=[float(each) for each in ratings(labels)])
    rule = {"corpus": "few", "rating": True, "share": [0, 1], "shots": 4, "fixed_queries": {"corpus": "shops"}}
    with pytest.raises(UserError, match=r"has 6 texts; .*\(its shots\) = 2 \* 4 = 8: lower them"):
        build(corpora(few=few), meta_test={"few": rule}).read()
