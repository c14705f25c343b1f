from collections import Counter

import numpy as np
import pytest
import torch
from toy import TinyCorpus, ratings, reviews

from metalingua.error import UserError
from metalingua.task.leakage import LeakageError, Pool, gate
from metalingua.task.tasks import Tasks
from metalingua.text.normal import normal_form
from metalingua.text.word import WordTokenizer

SETTINGS = {
    "ways": 2,
    "shots": 2,
    "queries": 3,
    "max_length": 6,
    "label_order": "fixed",
    "held_out": "domain",
    "leakage": "fail",
}


def corpora(**more):
    films, shops, tweets = (
        reviews("film", 60),
        reviews("shop", 60, labels=("bad", "so so", "good")),
        reviews("tweet", 60),
    )
    return {
        "films": TinyCorpus("films", *films),
        "shops": TinyCorpus("shops", shops[0], rating=ratings(shops[1])),
        "tweets": TinyCorpus("tweets", *tweets),
        **more,
    }


def build(held=None, *, meta_train=None, meta_validation=None, meta_test=None, **settings):
    return Tasks(
        corpora=held or corpora(),
        meta_train=meta_train or {"films_early": {"corpus": "films", "share": [0, 0.5]}},
        meta_validation=meta_validation or {"films_late": {"corpus": "films", "share": [0.5, 1]}},
        meta_test=meta_test or {"shops": {"corpus": "shops", "cuts": [0]}},
        **{**SETTINGS, **settings},
    )


def texts(tasks, split):
    return {text for task in tasks.splits[split] for text in task.texts}


def test_what_is_built():
    tasks = build(
        meta_test={"shops": {"corpus": "shops", "cuts": [0]}, "stars": {"corpus": "shops", "rating": True}}
    ).read()
    assert {split: [task.name for task in each] for split, each in tasks.splits.items()} == {
        "meta_train": ["films_early"],
        "meta_validation": ["films_late"],
        "meta_test": ["shops", "stars"],
    }
    assert tasks.heads() == {"classification_2": 2, "regression": 1}
    assert tasks.checksums() == {"films": "checksum of films", "shops": "checksum of shops"}
    assert tasks.found == {"mode": "fail", "texts": 120, "pairs": {}, "drop": {}, "examples": [], "mended": {}}
    assert tasks.corpora["shops"].loads == 1  # two tasks, one reading


def test_shares_are_disjoint_whole_and_stable():
    tasks = build().read()
    early, late = texts(tasks, "meta_train"), texts(tasks, "meta_validation")
    assert not early & late and len(early | late) == 60 and min(len(early), len(late)) > 20
    again = corpora()
    again["films"].texts, again["films"].label = again["films"].texts[::-1], again["films"].label[::-1]
    assert texts(build(again).read(), "meta_train") == early  # a text's place is its own, not its row's
    more = corpora()
    new, labels = reviews("film", 200, seed=9)
    more["films"].texts = more["films"].texts + new[60:]
    more["films"].label = more["films"].label + labels[60:]
    assert texts(build(more, leakage="report").read(), "meta_train") >= early
    wider = build(meta_train={"films_early": {"corpus": "films", "share": [0, 0.6]}}, leakage="report").read()
    assert texts(wider, "meta_train") > early


def test_labels_go_with_their_texts():
    tasks, held = build().read(), corpora()
    films = tasks.splits["meta_train"][0]
    truth = dict(zip(held["films"].texts, held["films"].label, strict=True))
    assert [films.classes[label] for label in films.labels] == [truth[text] for text in films.texts]
    truth = dict(zip(held["shops"].texts, held["shops"].rating, strict=True))
    shops = tasks.splits["meta_test"][0]
    assert shops.labels.tolist() == [int(truth[text] > 0) for text in shops.texts]


def test_an_unknown_key_of_a_task_is_named():
    with pytest.raises(
        UserError, match=r"task\.meta_train\.films\.cut is unknown; a task takes corpus, cuts, rating, share"
    ):
        build(meta_train={"films": {"corpus": "films", "cut": [0]}})


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("ways", 1, "at least 2"),
        ("shots", 0, "at least 1"),
        ("queries", 0, "at least 1"),
        ("max_length", 0, "at least 1"),
        ("label_order", "random", "one of fixed, shuffled"),
        ("held_out", "text", "one of domain, class, nothing"),
        ("leakage", "ignore", "one of fail, drop, report"),
    ],
)
def test_a_setting_that_cannot_work_is_named(key, value, rule):
    with pytest.raises(ValueError, match=rf"task\.{key} is {value}: it must be .*{rule}"):
        build(**{key: value})


def test_more_shots_and_queries_than_a_class_holds():
    with pytest.raises(UserError, match=r"task\.meta_train\.films_early: class '\w+' holds \d+ texts; .* = 43"):
        build(shots=20, queries=23).read()


def test_a_share_with_one_class_is_named():
    held = corpora()
    held["films"].label = ["good"] * 60
    held["films"].labels = ["bad", "good"]
    with pytest.raises(UserError, match=r"task\.meta_train\.films_early has one class \(good\) in corpus films"):
        build(held).read()


# what must be new at meta-test


def test_a_domain_must_be_new_at_meta_test():
    held = corpora()
    held["tweets"].domain = "films"
    tests = {"tweets": {"corpus": "tweets"}}
    with pytest.raises(LeakageError) as caught:
        build(held, meta_test=tests).read()
    message = str(caught.value)
    assert "task.meta_test.tweets and task.meta_train.films_early share the domain 'films'" in message
    assert "task.held_out=domain" in message and "take another corpus, or set task.held_out=nothing" in message
    build(held, meta_test=tests, held_out="nothing").read()
    build(meta_test=tests).read()


def test_one_corpus_in_training_and_test_is_a_shared_domain_not_a_lack_of_texts():
    trained = build().rules["meta_train"]["films_early"].corpus  # the gate leaves all its texts to meta-test
    with pytest.raises(LeakageError, match="share the domain"):
        build(meta_test={"again": {"corpus": trained}}, leakage="drop").read()


def test_the_domain_of_meta_validation_must_be_new_at_meta_test_too():
    validation = {"tweets_early": {"corpus": "tweets", "share": [0, 0.5]}}
    tests = {"tweets_late": {"corpus": "tweets", "share": [0.5, 1]}}
    with pytest.raises(LeakageError, match=r"task\.meta_validation\.tweets_early share the domain 'tweets'"):
        build(meta_validation=validation, meta_test=tests).read()


def test_classes_must_be_new_at_meta_test():
    tests = {"tweets": {"corpus": "tweets"}}
    with pytest.raises(LeakageError, match="share the class 'bad, good'.*task.held_out=class"):
        build(meta_test=tests, held_out="class").read()
    build(meta_test={"shops": {"corpus": "shops", "cuts": [0]}}, held_out="class").read()
    build(meta_test=tests, held_out="nothing").read()


def test_classes_of_one_corpus_are_split():
    names = [f"topic {i}" for i in range(6)]
    held = corpora(topics=TinyCorpus("topics", *reviews("topic", 120, labels=names)))
    split = {
        "meta_train": {"seen": {"corpus": "topics", "classes": names[:3]}},
        "meta_validation": {"held": {"corpus": "topics", "classes": names[3:4] + names[5:]}},
        "meta_test": {"new": {"corpus": "topics", "classes": names[4:5] + names[2:3], "share": [0, 0.9]}},
    }
    with pytest.raises(LeakageError, match="share the class 'topic 2'"):
        build(held, **split, held_out="class", leakage="report").read()
    split["meta_train"]["seen"]["classes"] = names[:2]
    tasks = build(held, **split, held_out="class").read()
    held_texts, held_labels = held["topics"].texts, held["topics"].label
    for name, classes in (("meta_train", names[:2]), ("meta_validation", ["topic 3", "topic 5"])):
        (task,) = tasks.splits[name]
        assert task.classes == tuple(classes)
        truth = [classes.index(label) for label in held_labels if label in classes]
        assert task.labels.tolist() == truth
        assert task.texts == [t for t, label in zip(held_texts, held_labels, strict=True) if label in classes]
    (new,) = tasks.splits["meta_test"]
    assert new.classes == ("topic 4", "topic 2") and 20 < len(new.texts) < 40 and set(new.labels) == {0, 1}


# the leakage gate


def leaking():
    """A tweet in the film corpus, a film text twice, one film text at both ends of the share."""
    held = corpora()
    films, tweets = held["films"], held["tweets"]
    early = next(text for text in films.texts if text in texts(build().read(), "meta_train"))
    label = films.label[films.texts.index(early)]
    films.texts = [*films.texts, tweets.texts[0].upper(), f"{early}!", early]
    films.label = [*films.label, tweets.label[0], label, label]
    return held, {"meta_train": {"films": {"corpus": "films"}}, "meta_test": {"tweets": {"corpus": "tweets"}}}


def test_fail_names_texts_and_ways_out():
    held, splits = leaking()
    with pytest.raises(LeakageError) as caught:
        build(held, **splits, meta_validation={"shops": {"corpus": "shops", "cuts": [0]}}).read()
    message = str(caught.value)
    assert message.startswith("4 pairs of texts are one text in two splits, or twice in one corpus")
    assert (
        f"meta_train/films: {held['tweets'].texts[0].upper()!r} ~ meta_test/tweets: {held['tweets'].texts[0]!r}"
        in message
    )
    assert "task.leakage=drop" in message and "task.leakage=report" in message


def test_report_goes_on_and_drops_nothing():
    held, splits = leaking()
    tasks = build(held, **splits, meta_validation={"shops": {"corpus": "shops", "cuts": [0]}}, leakage="report").read()
    assert len(tasks.splits["meta_train"][0].texts) == 63
    assert tasks.found["mode"] == "report" and tasks.found["texts"] == 63 + 60 + 60
    assert tasks.found["pairs"] == {"meta_train/films ~ meta_test/tweets": 1, "within meta_train/films": 3}


def test_drop_leaves_no_pair_and_counts():
    held, splits = leaking()
    tasks = build(held, **splits, meta_validation={"shops": {"corpus": "shops", "cuts": [0]}}, leakage="drop").read()
    assert tasks.found["drop"] == {"meta_train/films": 3}
    films, tweets = tasks.splits["meta_train"][0], tasks.splits["meta_test"][0]
    assert len(films.texts) == len(films.labels) == 60 and len(tweets.texts) == 60
    assert not {normal_form(text) for text in films.texts} & {normal_form(text) for text in tweets.texts}
    left = [Pool(split, task.corpus, task.texts) for split, each in tasks.splits.items() for task in each]
    assert not gate(left).pairs
    truth = dict(zip(held["films"].texts, held["films"].label, strict=True))
    assert [films.classes[label] for label in films.labels] == [truth[text] for text in films.texts]


def test_what_is_dropped_is_dropped_from_that_split_alone():
    """A share's rows are not the corpus's rows: the gate's indices have to be carried back."""
    held = corpora()
    films, tweets = held["films"], held["tweets"]
    train = build().read()
    early = [text for text in films.texts if text in texts(train, "meta_train")]
    tweets.texts = [*tweets.texts[:-3], *early[-3:]]
    tests = {"tweets": {"corpus": "tweets"}}
    tasks = build(held, meta_test=tests, leakage="drop").read()
    assert texts(train, "meta_train") - texts(tasks, "meta_train") == set(early[-3:])
    assert texts(tasks, "meta_validation") == texts(train, "meta_validation")
    assert texts(tasks, "meta_test") == set(tweets.texts)


def test_two_tasks_of_one_split_may_draw_the_same_texts():
    splits = {"a": {"corpus": "shops", "cuts": [0]}, "b": {"corpus": "shops", "rating": True}}
    tasks = build(meta_train=splits, meta_test={"tweets": {"corpus": "tweets"}}).read()
    assert tasks.found["pairs"] == {} and tasks.splits["meta_train"][0].texts == tasks.splits["meta_train"][1].texts


def test_shares_that_overlap_are_noticed():
    with pytest.raises(LeakageError, match="meta_train/films: .* ~ meta_validation/films"):
        build(meta_train={"films_early": {"corpus": "films", "share": [0, 0.7]}}).read()


# reading


def test_the_vocabulary_is_learned_from_meta_training_alone():
    def spy(corpus, word):
        return TinyCorpus(corpus.name, [f"{word} {text}" for text in corpus.texts], corpus.label, corpus.rating)

    held = corpora()
    held = {
        "films": spy(held["films"], "spyfilm"),
        "shops": spy(held["shops"], "spyshop"),
        "tweets": spy(held["tweets"], "spytweet"),
    }
    tasks = build(
        held,
        meta_train={"films": {"corpus": "films"}},
        meta_validation={"tweets": {"corpus": "tweets"}},
        meta_test={"shops": {"corpus": "shops", "cuts": [0]}},
    ).read()
    tokenizer = WordTokenizer(200)
    tasks.encode(tokenizer)
    assert "spyfilm" in tokenizer.vocabulary
    assert not {"spytweet", "spyshop"} & set(tokenizer.vocabulary)
    for split in ("meta_validation", "meta_test"):
        assert all(tokens[0] == 1 for task in tasks.splits[split] for tokens in task.tokens)
    assert all(tokens[0] == tokenizer.vocabulary["spyfilm"] for tokens in tasks.splits["meta_train"][0].tokens)


def test_every_task_is_read_and_cut():
    tasks = build(
        meta_test={"shops": {"corpus": "shops", "cuts": [0]}, "stars": {"corpus": "shops", "rating": True}}
    ).read()
    tokenizer = WordTokenizer(200)
    tasks.encode(tokenizer)
    for split in tasks.splits.values():
        for task in split:
            whole = tokenizer.encode(task.texts, 99)
            assert max(map(len, whole)) > 6
            assert [each.tolist() for each in task.tokens] == [each[:6].tolist() for each in whole]


def test_a_text_that_two_tasks_share_does_not_count_twice_for_the_vocabulary():
    rules = {"a": {"corpus": "films"}, "b": {"corpus": "shops", "cuts": [0]}}
    thrice = {**rules, "c": {"corpus": "shops", "cuts": [1]}, "d": {"corpus": "shops", "rating": True}}
    found = []
    for meta_train in (rules, thrice):
        tokenizer = WordTokenizer(30)
        tweets = {"tweets": {"corpus": "tweets"}}
        tasks = build(
            meta_train=meta_train, meta_validation=tweets, meta_test=tweets, leakage="report", held_out="nothing"
        )
        tasks.read().encode(tokenizer)
        found.append(tokenizer.vocabulary)
    assert found[0] == found[1]


def test_episodes_are_of_their_split():
    tasks = build(label_order="shuffled").read()
    tasks.encode(WordTokenizer(200))
    for split in ("meta_train", "meta_validation", "meta_test"):
        episodes = tasks.episodes(split, seed=3)
        assert (episodes.seed, episodes.shots, episodes.queries, episodes.label_order) == (3, 2, 3, "shuffled")
        drawn = {text for i in range(20) for text in episodes[i].support.inputs.texts + episodes[i].query.inputs.texts}
        assert drawn <= texts(tasks, split) and len(drawn) > 15
        assert np.isin(episodes[0].support.labels, [0, 1]).all()


# how frequent words are


def counted(tasks):
    return Counter(int(token) for task in tasks.splits["meta_train"] for tokens in task.tokens for token in tokens)


def test_frequencies_are_shares_of_what_is_read_of_meta_training():
    tasks, tokenizer = build().read(), WordTokenizer(200)
    assert tasks.frequency is None
    tasks.encode(tokenizer)
    count = counted(tasks)
    expected = torch.tensor([count[token] / count.total() for token in range(200)])
    torch.testing.assert_close(tasks.frequency, expected)
    assert tasks.frequency.dtype == torch.float32 and tasks.frequency[0] == 0
    assert max(len(text.split()) for text in tasks.splits["meta_train"][0].texts) > 6  # words beyond do not count
    everything = Counter(int(token) for split in tasks.splits.values() for task in split for ids in task.tokens
                         for token in ids)  # fmt: skip
    assert not torch.allclose(
        expected, torch.tensor([everything[t] / everything.total() for t in range(200)]), atol=1e-3
    )


def test_a_text_that_two_tasks_share_does_not_count_twice_for_frequencies():
    rules = {"a": {"corpus": "films"}, "b": {"corpus": "shops", "cuts": [0]}}
    tweets = {"tweets": {"corpus": "tweets"}}
    found, naive = [], []
    for meta_train in (rules, {**rules, "c": {"corpus": "shops", "rating": True}}):
        tasks = build(
            meta_train=meta_train, meta_validation=tweets, meta_test=tweets, leakage="report", held_out="nothing"
        ).read()
        tasks.encode(WordTokenizer(200))
        found.append(tasks.frequency)
        count = counted(tasks)
        naive.append(torch.tensor([count[token] / count.total() for token in range(200)]))
    assert torch.equal(*found) and not torch.allclose(*naive)


def test_episodes_hold_the_frequencies_of_meta_training_in_every_split():
    tasks = build().read()
    tasks.encode(WordTokenizer(200))
    for split in ("meta_train", "meta_validation", "meta_test"):
        episode = tasks.episodes(split, seed=0)[0]
        assert torch.equal(episode.query.inputs.frequency, tasks.frequency[episode.rows])


def test_a_task_may_have_shots_and_queries_of_its_own():
    def sizes(**own):
        made = build(meta_test={"shops": {"corpus": "shops", "cuts": [0], **own}}).read()
        made.encode(WordTokenizer(50))
        assert made.size(made.splits["meta_test"][0]) == tuple(len(half) // 2 for half in halves(made, "meta_test"))
        return tuple(len(half) for half in (*halves(made, "meta_train"), *halves(made, "meta_test")))

    def halves(tasks, split):
        episode = tasks.episodes(split, seed=0)[0]
        return episode.support.inputs, episode.query.inputs

    assert sizes() == (4, 6, 4, 6)
    assert sizes(shots=5) == (4, 6, 10, 6)
    assert sizes(shots=1, queries=4) == (4, 6, 2, 8)
    with pytest.raises(UserError, match="meta_test.shops: class .* holds .* texts; task.shots"):
        sizes(shots=50)


def test_names_of_classes_come_from_the_corpus_and_are_read_as_texts_are():
    held = corpora()
    held["films"].label_words = {"good": "lovely film"}
    tasks = build(held).read()
    tokenizer = WordTokenizer(40)
    tasks.encode(tokenizer)
    (films,), (shops,) = tasks.splits["meta_train"], tasks.splits["meta_test"]
    assert films.names == ("bad", "lovely film") and shops.names is None
    expected = tokenizer.encode(["bad", "lovely film"], 6)
    assert [each.tolist() for each in films.name_tokens] == [each.tolist() for each in expected]
    asked, plain = (tasks.episodes("meta_train", 0, names=names)[0] for names in (True, False))
    assert asked.support.names.texts == films.names and plain.support.names is None


def test_macro_f1_needs_classes_that_keep_their_places():
    f1 = {"shops": {"corpus": "shops", "cuts": [-1, 1], "ways": 3, "metric": "macro_f1"}}
    tasks = build(meta_test=f1).read()
    assert tasks.splits["meta_test"][0].problem.metric == "macro_f1"
    with pytest.raises(UserError, match="task.label_order is shuffled, and shops"):
        build(meta_test=f1, label_order="shuffled").read()
    with pytest.raises(UserError, match="2 of 3 classes"):
        build(meta_test={"shops": {**f1["shops"], "ways": 2}}).read()
    with pytest.raises(UserError, match="metric is pearson; of this kind of task it can be macro_f1"):
        build(meta_test={"shops": {**f1["shops"], "metric": "pearson"}}).read()


def test_a_task_of_which_nothing_is_left_says_why():
    held = corpora(again=TinyCorpus("again", *reviews("film", 60), domain="again"))
    with pytest.raises(
        UserError, match=r"task\.meta_train\.twice has no text left: all 60 are left out .*leakage=drop"
    ):
        build(held, meta_train={"twice": {"corpus": "again"}}, meta_validation={"v": {"corpus": "tweets"}},
              meta_test={"films": {"corpus": "films"}}, leakage="drop").read()  # fmt: skip


def test_a_key_that_nothing_would_read_is_refused():
    with pytest.raises(UserError, match="task shops: beam is 3, and shops is not translated"):
        build(meta_test={"shops": {"corpus": "shops", "cuts": [0], "beam": 3}}).read()
