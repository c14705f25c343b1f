"""What Hydra cannot compose is told in a line or two."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from metalingua.composition import fails, in_words, near

CONF = Path(__file__).parents[1] / "conf"


def told(*words, conf=CONF):
    with initialize_config_dir(str(conf), version_base="1.3"), pytest.raises((HydraException, ValueError)) as caught:
        compose("train", list(words))
    assert fails(caught.value)
    return in_words(caught.value, ["seed=3", *words], conf)


def test_a_misspelt_name_is_told_with_the_nearest_and_how_many_there_are():
    there = len(list((CONF / "experiment").glob("*.yaml")))
    first, second = told("experiment=tweets").splitlines()
    assert first == "experiment=tweets: Could not find 'experiment/tweets'"
    assert f"There are {there}; nearest: tweets_to_products, tweets_to_products_full; " in second
    assert told("+learner@compare.other=mamll").startswith("learner=mamll: ")
    first, second = told("model=lstmm").splitlines()
    assert second == f"There is {', '.join(sorted(path.stem for path in (CONF / 'model').glob('*.yaml')))}"


def test_a_name_like_no_other_has_no_nearest():
    assert "nearest" not in told("experiment=zzzz") and "--help" in told("experiment=zzzz")


def test_the_file_that_asks_for_it_is_named(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model/lstm.yaml").write_text("size: 1\n")
    (tmp_path / "train.yaml").write_text("defaults: [model: lstm, experiment: null]\n")
    (tmp_path / "experiment/mine.yaml").write_text("defaults: [/model@other: lstmm]\n")
    assert told("experiment=mine", conf=tmp_path).splitlines() == [
        "model=lstmm: Could not find 'model/lstmm', which conf/experiment/mine.yaml asks for", "There is lstm"
    ]  # fmt: skip


def test_no_search_path_is_printed():
    assert "search path" not in told("experiment=[tweets]") and "experiment/tweets" in told("experiment=[tweets]")


def test_near():
    assert near("mamll", ["anil", "maml", "ridge"]) == ["maml"]
    assert near("qa", ["qa_domains", "topic", "qa_languages"]) == ["qa_domains", "qa_languages"]


def test_a_group_that_is_given_no_name_is_told_how_to_take_it_out():
    assert told("learner@compare.tfidf=null").splitlines() == [
        "learner@compare.tfidf=null: null names no file of conf/learner",
        "learner@compare.tfidf=NAME chooses one; '~learner@compare.tfidf' takes out what is chosen there",
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert "tfidf" not in compose("train", ["~learner@compare.tfidf"]).compare  # so it does
    assert told("learner=3").startswith("learner=3: 3 names no file") and "conf/train.yaml" in told("experiment=null")
    assert "name one of the group's files" in told("hydra/job_logging=null")  # of no folder in conf


def test_a_bug_is_no_composition():
    assert not fails(ValueError("math domain error"))
