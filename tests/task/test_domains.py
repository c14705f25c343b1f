"""A corpus whose texts say their domain makes a task of each, and what must be new at meta-test is that."""

import pytest
from toy import TinyCorpus, reviews

from metalingua.error import UserError
from metalingua.task.leakage import LeakageError
from metalingua.task.tasks import Tasks
from metalingua.text.word import WordTokenizer

SETTINGS = {"ways": 2, "shots": 2, "queries": 3, "max_length": 6, "label_order": "fixed", "held_out": "domain",
            "leakage": "fail"}  # fmt: skip
LANGUAGES = ("de", "fr", "it", "sw-KE")


def corpus(name, *more, languages=LANGUAGES):
    """30 texts in each language, then `more` texts that are good: (text, language)."""
    texts, labels, said = [], [], []
    for language in languages:
        own, answers = reviews(f"{name} {language}", 30)
        texts, labels, said = [*texts, *own], [*labels, *answers], [*said, *([language] * 30)]
    texts, said = [*texts, *(text for text, _ in more)], [*said, *(language for _, language in more)]
    return TinyCorpus(name, texts, [*labels, *("good" for _ in more)], domains=said)


def build(*more, test=None, corpora=(), meta_train=("de", "fr"), **settings):
    held = {"tweets": corpus("tweets", *more), **dict(corpora)}
    return Tasks(
        held,
        {"seen": {"corpus": "tweets", "domains": meta_train and list(meta_train)}},
        {"held": {"corpus": "tweets", "domains": ["it"]}},
        test or {"new": {"corpus": "tweets", "domains": ["sw-KE"], "title": "Tweets"}},
        **{**SETTINGS, **settings},
    )


def names(tasks):
    return {split: [task.name for task in each] for split, each in tasks.splits.items()}


def test_every_domain_is_a_task_with_its_own_texts_and_labels():
    tasks = build().read()
    assert names(tasks) == {"meta_train": ["seen_de", "seen_fr"], "meta_validation": ["held_it"],
                            "meta_test": ["new_sw_KE"]}  # fmt: skip
    held = tasks.corpora["tweets"]
    truth = dict(zip(held.texts, zip(held.domains, held.label, strict=True), strict=True))
    for task in (task for split in tasks.splits.values() for task in split):
        assert {truth[text][0] for text in task.texts} == {task.domain} and len(task.texts) == 30
        assert [task.classes[label] for label in task.labels] == [truth[text][1] for text in task.texts]
    (new,) = tasks.splits["meta_test"]
    assert (new.domain, new.title) == ("sw-KE", "Tweets: sw-KE") and held.loads == 1


def test_without_a_choice_all_are():
    tasks = build(meta_train=None, held_out="nothing", leakage="report").read()
    assert names(tasks)["meta_train"] == ["seen_de", "seen_fr", "seen_it", "seen_sw_KE"]


def test_a_domain_must_be_new_at_meta_test():
    with pytest.raises(LeakageError, match=r"meta_test\.new_sw_KE and task\.meta_train\.seen_sw_KE share the domain"):
        build(meta_train=("de", "sw-KE"), leakage="report").read()


def test_a_text_of_two_domains_is_a_leak_between_splits_and_none_within_one():
    text = corpus("tweets").texts[1]  # German, good
    within = build((text, "fr")).read()
    assert within.found["pairs"] == {} and len(within.splits["meta_train"][1].texts) == 31
    with pytest.raises(LeakageError, match="meta_train/tweets/de: .* ~ meta_test/tweets/sw-KE"):
        build((text, "sw-KE")).read()
    dropped = build((text, "sw-KE"), leakage="drop").read()
    assert dropped.found["drop"] == {"meta_train/tweets/de": 1}
    assert [len(task.texts) for task in dropped.splits["meta_train"]] == [29, 30]
    assert [len(task.texts) for task in dropped.splits["meta_test"]] == [31]


def test_fixed_queries_are_of_the_same_domain():
    more = {"test": corpus("test", languages=("sw-KE", "it"))}
    tasks = build(corpora=more, test={"new": {"corpus": "tweets", "domains": ["sw-KE"],
                                              "fixed_queries": {"corpus": "test"}}}).read()  # fmt: skip
    tasks.encode(WordTokenizer(200))
    asked = tasks.episodes("meta_test", 0)[0].query.inputs.texts
    assert set(asked) == set(more["test"].texts[:30])


def test_queries_that_yield_leave_a_given_support_set_whole():
    given = {"given": corpus("given", languages=("sw-KE",))}
    support = given["given"]
    support.texts, support.label, support.domains = support.texts[:4], support.label[:4], support.domains[:4]
    for yields in (False, True):
        more = {**given, "test": corpus("test", (support.texts[1], "sw-KE"), languages=("sw-KE",))}
        rule = {"corpus": "given", "domains": ["sw-KE"], "fixed_queries": {"corpus": "test", "yields": yields}}
        tasks = build(corpora=more, test={"new": rule}, leakage="drop")
        if not yields:
            with pytest.raises(UserError, match="class 'good' holds 1 texts"):
                tasks.read()
            continue
        tasks.read().encode(WordTokenizer(200))
        episode = tasks.episodes("meta_test", 0)[0]
        assert set(episode.support.inputs.texts) == set(support.texts)
        assert set(episode.query.inputs.texts) == set(more["test"].texts[:-1])
        assert tasks.found["drop"] == {"fixed queries that yield/test/sw-KE": 1}


def test_a_text_of_meta_training_like_a_query_that_yields_is_left_out_all_the_same():
    text = corpus("tweets").texts[1]  # German, good
    more = {"test": corpus("test", (text, "sw-KE"), languages=("sw-KE",))}
    rule = {"corpus": "tweets", "domains": ["sw-KE"], "fixed_queries": {"corpus": "test", "yields": True}}
    tasks = build(corpora=more, test={"new": rule}, leakage="drop").read()
    assert tasks.found["drop"] == {"meta_train/tweets/de": 1}


def test_what_cannot_be_is_said():
    with pytest.raises(
        UserError, match=r"meta_train\.seen\.domains has 'dee'; the texts of tweets are of de, fr, it, sw"
    ):
        build(meta_train=("dee",)).read()
    with pytest.raises(UserError, match="task.meta_train has two tasks called seen_de: name a domain once"):
        build(meta_train=("de", "de")).read()
    silent = {"films": TinyCorpus("films", *reviews("film", 30))}
    for rule in ({"corpus": "films", "domains": ["it"]}, {"corpus": "tweets", "fixed_queries": {"corpus": "films"}}):
        with pytest.raises(UserError, match=r"those of films say none: .*task\.corpora\.films\.files\.columns\.domain"):
            build(corpora=silent, test={"new": rule}).read()


def test_a_number_is_a_class_of_its_own_corpus_alone():
    def numbered(name):
        return TinyCorpus(name, *reviews(name, 60, labels=("0", "1", "2", "3")))

    corpora = {"one": numbered("one"), "two": numbered("two")}
    splits = [{"a": {"corpus": "one", "classes": ["0", "1"]}}, {"b": {"corpus": "one", "classes": ["0", "1"]}}]
    settings = {**SETTINGS, "held_out": "class", "leakage": "report"}
    Tasks(corpora, *splits, {"c": {"corpus": "two", "classes": ["0", "1"]}}, **settings).read()
    with pytest.raises(LeakageError, match="share the class 'one 0'"):
        Tasks(corpora, *splits, {"c": {"corpus": "one", "classes": ["0", "2"]}}, **settings).read()
