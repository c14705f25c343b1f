"""What a run learned as a scikit-learn estimator: the run's own numbers, files, and what it refuses."""

import copy
import json
import os
import subprocess
import sys
import tracemalloc
import warnings
from dataclasses import replace

import bert
import joblib
import numpy as np
import pandas
import pytest
import safetensors.torch
import tiny
import torch
from omegaconf import OmegaConf
from safetensors import safe_open
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

import metalingua
from metalingua.error import UserError
from metalingua.estimator.classifier import FewShotClassifier
from metalingua.estimator.regressor import FewShotRegressor
from metalingua.learner.learner import Learner
from metalingua.model.model import Model
from metalingua.problem.classification import Classification
from metalingua.result.identity import plain
from metalingua.training.checkpoint import read_weights
from metalingua.training.engine import Engine, localise
from metalingua.training.learners import build
from metalingua.training.reading import read
from metalingua.training.refusal import offered

TEXTS = ["lovely bar cel", "poor bar din", "warm fine kos", "awful cold lel", "bright kind", "mean dull far"]
LABELS = ["positive", "negative"] * 3
ASKED = ["kind lovely gar", "dull awful gin", "bar cel", "warm"]
RATED = ["+task.meta_train.stars_rating={corpus: stars, rating: true, share: [0, 0.7]}", "learner=ridge",
         "~learner.tuned", "compare=null", "reference=[]", "name=rated"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def words(folder):
    """The overrides of the run."""
    return ["+learner@compare.nearest_centroid=nearest_centroid", "compare.nearest_centroid.start=trained"]


@pytest.fixture(scope="module")
def run(folder, words):
    """A done run of MAML, compared with others."""
    code, _, err = tiny.train(folder, *words)
    assert (code, err) == (0, "")
    return tiny.runs(folder / "outputs")["maml"]


@pytest.fixture(scope="module")
def rated(folder):
    """A done run of ridge regression, on classes and ratings."""
    code, _, err = tiny.train(folder, *RATED)
    assert (code, err) == (0, "")
    return next((folder / "outputs/rated").iterdir())


@pytest.fixture
def maml(run):
    return metalingua.load(run)


@pytest.fixture
def proto(maml):
    """A learner of any number of classes."""
    return made(maml, "proto_net")


def every_learner():
    """Name to config of every yaml of conf/learner."""
    return dict(offered({}))


def made(estimator, name):
    """A classifier of another learner with fresh parameters, on the same model."""
    config = every_learner()[name]
    model, learner = Model(estimator.learned.encoder, {"classification_2": 2}), build(config)
    start = {**estimator.learned.params, **learner.init(model, 0)} if learner.training == "meta" else {}
    params = {**estimator.learned.params, **start}
    return FewShotClassifier(replace(estimator.learned, name=name, learner=config, params=params))


# ---- the run's own numbers


@pytest.mark.parametrize("learner", ["maml", "unadapted", "nearest_centroid", "single_task", "tfidf", "majority"])
def test_on_the_texts_of_an_episode_it_answers_as_the_judge_of_the_run(folder, words, run, learner):
    estimator = metalingua.load(run, learner=learner)
    reading = read(tiny.compose(folder, *words))
    training = tiny.training(folder, *words, reading=reading)
    settings = json.loads((run / "result.json").read_text())["settings"][learner]["chosen"]
    config = plain(tiny.compose(folder, *words))
    built = build({**(config["learner"] if learner == "maml" else config["compare"][learner]), **settings})
    scratch = learner in ("single_task", "tfidf", "majority")
    model = training.module.model
    params = model.init(0) if scratch else read_weights(run / "checkpoints/best.ckpt")
    kept = pandas.read_parquet(run / "episodes.parquet").query("learner == @learner").set_index("episode")
    names, engine = np.array(["negative", "positive"]), Engine(1)
    for episode in training.data.episodes("meta_test"):
        support, query = episode.support, episode.query
        estimator.fit(list(support.inputs.texts), names[support.targets])
        with torch.no_grad():
            local = localise(model, params, episode)
            ours = built.adapt(model, local, support).outputs(query.inputs).numpy()
        np.testing.assert_allclose(estimator.outputs(query.inputs.texts), ours, rtol=0, atol=1e-6)
        (judged,) = engine.judge(built, model, params, [episode])
        assert (estimator.predict(query.inputs.texts) == names[judged.predictions]).all()
        assert estimator.score(query.inputs.texts, names[query.targets]) == kept.accuracy[episode.index]


def test_it_is_the_adapted_learner_that_answers(maml):
    before = maml.set_params(settings={"steps": 0}).fit(TEXTS, LABELS).outputs(ASKED)
    after = maml.set_params(settings={"steps": 5}).fit(TEXTS, LABELS).outputs(ASKED)
    assert np.abs(before - after).max() > 1e-3


# ---- as scikit-learn has it


def test_labels_of_any_type_and_any_size_of_classes(proto):
    for labels in (LABELS, [1, 0] * 3, [True, False] * 3, [1.0, 0.0] * 3, np.array(LABELS), pandas.Series([2, 5] * 3)):
        proto.fit(pandas.Series(TEXTS), labels)
        plain_labels = np.asarray(labels).tolist()
        assert proto.classes_.tolist() == sorted(set(plain_labels))
        assert set(proto.predict(TEXTS).tolist()) <= set(plain_labels)
        shares = proto.predict_proba(TEXTS)
        assert shares.shape == (6, 2) and np.allclose(shares.sum(1), 1)
        assert (proto.classes_[shares.argmax(1)] == proto.predict(TEXTS)).all()
    proto.fit(TEXTS, ["a", "b", "b", "b", "c", "b"])  # three, of unequal sizes
    assert proto.predict_proba(ASKED).shape == (4, 3)
    assert proto.predict([]).shape == (0,) and proto.predict_proba([]).shape == (0, 3)


def test_renamed_labels_rename_the_answers_of_a_learner_that_knows_no_order(proto):
    one = proto.fit(TEXTS, LABELS).predict_proba(ASKED)
    other = proto.fit(TEXTS, [{"positive": "a", "negative": "z"}[each] for each in LABELS]).predict_proba(ASKED)
    np.testing.assert_allclose(one, other[:, ::-1], atol=1e-6)
    assert not np.allclose(one, other, atol=1e-3)


def test_a_trained_head_is_given_its_classes_in_their_order(maml):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known = maml.fit(TEXTS, LABELS).predict_proba(ASKED)
        named = {"positive": "great", "negative": "poor"}  # ascending, the other way round
        maml.set_params(order=["poor", "great"]).fit(TEXTS, [named[each] for each in LABELS])
        assert maml.classes_.tolist() == ["great", "poor"]
        np.testing.assert_allclose(maml.predict_proba(ASKED), known[:, ::-1], atol=1e-6)
        maml.set_params(order=["great", "poor"]).fit(TEXTS, [named[each] for each in LABELS])
        assert not np.allclose(maml.predict_proba(ASKED), known[:, ::-1], atol=1e-6)
    with pytest.raises(ValueError, match="order is .'poor', 'bad'."):
        maml.set_params(order=["poor", "bad"]).fit(TEXTS, [named[each] for each in LABELS])


@pytest.mark.parametrize("names", [("great", "poor"), ("a", "b"), (0, 1)])
@pytest.mark.parametrize("first", [0, 1])
def test_new_labels_take_the_places_where_the_head_fits_them_best(maml, names, first):
    labels = [names[(each == "positive") ^ first] for each in LABELS]
    found = {}
    for order in (names, names[::-1]):
        fitted = clone(maml).set_params(settings={"steps": 0}, order=list(order)).fit(TEXTS, labels)
        shares = fitted.predict_proba(TEXTS)[np.arange(6), [names.index(label) for label in labels]]
        found[np.log(shares).sum()] = list(order)
    fitted = clone(maml).fit(TEXTS, labels)
    assert len(found) == 2 and fitted.order_ == found[max(found)]
    told = clone(maml).set_params(order=found[max(found)]).fit(TEXTS, labels)
    np.testing.assert_array_equal(fitted.predict_proba(ASKED), told.predict_proba(ASKED))


def test_clones_share_what_was_learned_and_are_not_fitted(maml):
    maml.set_params(settings={"steps": 3}, batch_size=2).fit(TEXTS, LABELS)
    other = clone(maml)
    assert other.get_params() == maml.get_params() and other.learned is maml.learned
    for asked in (other.predict, other.predict_proba, other.outputs):
        with pytest.raises(NotFittedError):
            asked(ASKED)
    assert maml.predict(ASKED).shape == (4,)
    before = {name: value.clone() for name, value in maml.learned.params.items()}
    other.fit(TEXTS, LABELS)
    assert all(torch.equal(value, before[name]) for name, value in other.learned.params.items())


@pytest.mark.parametrize(
    "check", ["check_get_params_invariance", "check_set_params", "check_no_attributes_set_in_init",
              "check_estimator_cloneable", "check_estimator_repr", "check_estimators_unfitted",
              "check_valid_tag_types"]
)  # fmt: skip
def test_what_scikit_learn_checks_of_estimators_without_arrays(maml, rated, check):
    # the others fit arrays of numbers, and this one reads texts
    check = getattr(estimator_checks, check)
    for estimator in (maml, metalingua.load(rated, kind="regression")):
        check(type(estimator).__name__, estimator)


def test_pipelines_cross_validation_and_search(maml):
    scores = cross_val_score(maml, TEXTS * 2, LABELS * 2, cv=2)
    assert scores.shape == (2,) and ((scores >= 0) & (scores <= 1)).all()
    strip = FunctionTransformer(lambda texts: [text.replace("<br>", " ") for text in texts])
    pipeline = make_pipeline(strip, maml).fit([f"{text}<br>{text}" for text in TEXTS], LABELS)
    expected = clone(maml).fit([f"{text} {text}" for text in TEXTS], LABELS).predict_proba(ASKED)
    np.testing.assert_array_equal(pipeline.predict_proba(ASKED), expected)
    search = GridSearchCV(maml, {"settings": [{"steps": 0}, {"steps": 7}]}, cv=2).fit(TEXTS, LABELS)
    assert search.best_params_["settings"]["steps"] in (0, 7)


# ---- what it refuses


@pytest.mark.parametrize(
    "texts, labels, says",
    [
        (TEXTS, ["a"] * 6, "all 6 labels are 'a'"),
        ([], [], "no text is given"),
        (["", *TEXTS[1:]], LABELS, "text 0 is empty"),
        ([*TEXTS[:5], " \t"], LABELS, "text 5 is empty"),
        (TEXTS[:5], LABELS, "5 texts and 6 labels"),
        ([*TEXTS[:5], 7], LABELS, "text 5 is 7"),
        ([*TEXTS[:5], float("nan")], LABELS, "text 5 is nan"),
        ([*TEXTS[:5], None], LABELS, "text 5 is None"),
        (TEXTS, [None, *LABELS[1:]], "label 0 is None"),
        (TEXTS, [float("nan"), *[1.0, 2.0] * 2, 1.0], "label 0 is nan"),
        (TEXTS, pandas.Series([pandas.NA, *LABELS[1:]]), "label 0 is "),
        (TEXTS, ["a", 1] * 3, "several types, int, str"),
        (TEXTS, [0.5, 1] * 3, "kind='regression'"),
        (TEXTS, [("a",), ("b",)] * 3, "labels are tuples"),
        (TEXTS, "abcabc", "a list with a label for each"),
        (TEXTS, None, "a list with a label for each"),
        ("one text", LABELS, "texts is one text"),
        (np.array(TEXTS).reshape(-1, 1), LABELS, "text 0 is .*not a table"),
    ],
)
def test_what_cannot_be_fitted_is_a_value_error_that_says_why(maml, texts, labels, says):
    with pytest.raises(ValueError, match=says) as refusal:
        maml.fit(texts, labels)
    assert isinstance(refusal.value, UserError)
    maml.fit(TEXTS, LABELS)


def test_a_failed_fit_leaves_what_was_fitted_before(maml):
    before = maml.fit(TEXTS, LABELS).predict_proba(ASKED)
    with pytest.raises(ValueError, match="3 classes"):
        maml.fit(TEXTS, ["a", "b", "c"] * 2)
    np.testing.assert_array_equal(maml.predict_proba(ASKED), before)
    assert maml.classes_.tolist() == ["negative", "positive"]


def test_a_trained_head_refuses_other_numbers_of_classes_and_names_who_can(maml, proto):
    with pytest.raises(ValueError) as refusal:
        maml.fit(TEXTS, ["a", "b", "c"] * 2)
    says = str(refusal.value)
    assert "trained: classification_2" in says and "of this very run" in says
    able = says.rpartition("can: ")[2].split(", ")
    assert {"proto_net", "ridge", "proto_maml"} <= set(able) and not {"maml", "anil", "tfidf"} & set(able)
    for name in able:  # as it says
        if name != "named_proto_net":
            assert made(maml, name).fit(TEXTS, ["a", "b", "c"] * 2).predict_proba(ASKED).shape == (4, 3)
    here = says.partition("has ")[2].partition(" of this very run")[0].split(", ")
    assert "nearest_centroid" in here and "unadapted" not in here
    other = metalingua.load(maml.learned.source, learner="nearest_centroid")
    assert other.fit(TEXTS, ["a", "b", "c"] * 2).predict(ASKED).shape == (4,)


@pytest.mark.parametrize(
    "settings, says", [({"stepz": 1}, "'stepz', and maml takes"), ({"steps": -1}, "learner.steps is -1"),
                       ({"_target_": "os.system"}, "'_target_'")]
)  # fmt: skip
def test_settings_that_a_learner_cannot_have(maml, settings, says):
    with pytest.raises(ValueError, match=says):
        maml.set_params(settings=settings).fit(TEXTS, LABELS)


def test_adapting_that_leaves_the_range_of_numbers_says_so(maml):
    estimator = made(maml, "maml_plus_plus").fit(TEXTS, LABELS)
    for name, value in estimator.learned.params.items():
        if name.startswith("learner.step_size."):
            value.fill_(float("inf"))
    with pytest.raises(ValueError, match="lower its step size"):
        estimator.fit(TEXTS, LABELS)


def test_what_is_no_run_or_not_in_it(run, tmp_path, folder):
    for path, how, says in [
        (tmp_path / "nowhere", {}, "there is no run"),
        (run, {"learner": "anil"}, "has not; it has maml, "),
        (run, {"learner": "multi_task"}, "of a run of its own"),
        (run, {"kind": "rating"}, "one of classification, regression"),
    ]:
        with pytest.raises(UserError, match=says):
            metalingua.load(path, **how)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match="or it is damaged"):
        metalingua.load(tmp_path / "notes.txt")


def test_words_of_classes_are_read_where_a_learner_reads_them(maml):
    named = made(maml, "named_proto_net").fit(TEXTS, LABELS).outputs(ASKED)
    other = made(maml, "named_proto_net").fit(TEXTS, [{"positive": "warm", "negative": "cold"}[x] for x in LABELS])
    assert not np.allclose(named[:, ::-1], other.outputs(ASKED))
    with pytest.raises(ValueError, match="no names in words: 1, 2"):
        made(maml, "named_proto_net").fit(TEXTS, [1, 2] * 3)


# ---- ratings


def test_ratings(rated, run, tmp_path):
    rates = metalingua.load(rated, kind="regression").fit(TEXTS, [5, 1, 5, 1, 4.5, 2])
    found = rates.predict(ASKED)
    assert isinstance(rates, FewShotRegressor) and ((found >= 1) & (found <= 5)).all()
    assert found[0] > found[1] and rates.score(TEXTS, [5, 1, 5, 1, 4.5, 2]) <= 1
    assert rates.predict([]).shape == (0,)
    rates.save(tmp_path / "rates.safetensors")
    np.testing.assert_array_equal(metalingua.load(tmp_path / "rates.safetensors").predict(ASKED), found)
    twice = clone(rates).set_params(scale=[2, 10]).fit(TEXTS, [10, 2, 10, 2, 9, 4]).predict(ASKED)
    np.testing.assert_allclose(twice, 2 * found, atol=1e-4)
    for ratings, says in [([6, *[1] * 5], "not on the scale from 1 to 5"), (["a", *[1] * 5], "'a' is no number")]:
        with pytest.raises(ValueError, match=says):
            rates.fit(TEXTS, ratings)
    with pytest.raises(ValueError, match=r"scale is \[5, 1\]"):
        clone(rates).set_params(scale=[5, 1]).fit(TEXTS, [1] * 6)
    assert metalingua.load(rated).fit(TEXTS, LABELS).predict(ASKED).shape == (4,)  # classes too
    with pytest.raises(ValueError, match="give scale="):
        metalingua.load(run, kind="regression").fit(TEXTS, [1] * 6)
    with pytest.raises(ValueError, match="none for ratings .*runs of these learners can: ridge"):
        metalingua.load(run, kind="regression").set_params(scale=[1, 5]).fit(TEXTS, [1] * 6)


# ---- files


def can(config):
    """Whether it classifies, and adapts without the texts of meta-training."""
    learner = build(config)
    fitted = type(learner).fit is not Learner.fit or learner.reads_frequency
    return not fitted and learner.refuses(Classification(2)) is None


KEPT = {"maml", "anil", "reptile", "proto_net", "ridge", "fine_tune_head", "cavia", "warp"}  # these at least
NOT_KEPT = {"tfidf", "matching_net", "soft_kmeans"}  # answer from the support texts: nor these


@pytest.mark.parametrize("name", [n for n, each in every_learner().items() if can(each)])
def test_a_file_keeps_what_every_learner_answers(maml, tmp_path, name):
    estimator = made(maml, name).fit(TEXTS, LABELS)
    before, file = estimator.outputs(ASKED), tmp_path / "it.safetensors"
    assert np.isfinite(before).all()
    learner, problem = estimator.learned.build(), Classification(2)
    again = learner.predictor(
        Model(estimator.learned.encoder, {}), estimator.learned.params, estimator.adapted_, problem
    )
    keeps = again is not None and not learner.transductive
    assert keeps or name not in KEPT
    assert not keeps or name not in NOT_KEPT
    if not keeps:
        with pytest.raises(UserError, match="before fit"):
            estimator.save(file)
        with pytest.raises(UserError, match="before fit"):
            joblib.dump(estimator, tmp_path / "it.joblib")
        assert not file.exists()
        metalingua.load(clone(estimator).save(file)).fit(TEXTS, LABELS)  # the way out
        return
    again = metalingua.load(estimator.save(file))
    np.testing.assert_array_equal(again.outputs(ASKED), before)
    joblib.dump(estimator, tmp_path / "it.joblib")
    np.testing.assert_array_equal(joblib.load(tmp_path / "it.joblib").outputs(ASKED), before)
    np.testing.assert_array_equal(copy.deepcopy(estimator).outputs(ASKED), before)
    np.testing.assert_array_equal(again.fit(TEXTS, LABELS).outputs(ASKED), before)  # all of meta-training is there
    np.testing.assert_array_equal(metalingua.load(again.save(file)).outputs(ASKED), before)  # saved twice


def test_a_file_keeps_labels_and_settings_of_any_kind(proto, tmp_path):
    for labels in (LABELS, [1, 0] * 3, [True, False] * 3, [1.0, 0.0] * 3):
        proto.set_params(order=list(dict.fromkeys(labels)), batch_size=3).fit(TEXTS, labels)
        again = metalingua.load(proto.save(tmp_path / "it"))
        assert again.classes_.tolist() == proto.classes_.tolist() and again.classes_.dtype == proto.classes_.dtype
        assert again.order == proto.order == again.order_ and again.batch_size == 3 and again.cut_ == 0
        np.testing.assert_array_equal(again.predict(ASKED), proto.predict(ASKED))
    with pytest.raises(NotFittedError):
        metalingua.load(clone(proto).save(tmp_path / "it")).predict(ASKED)
    with pytest.raises(UserError, match="of a run alone"):
        metalingua.load(tmp_path / "it", learner="maml")


def test_no_support_text_is_in_a_file(maml, tmp_path):
    secret = [f"{text} Qwxzyk{i}" for i, text in enumerate(TEXTS)]
    maml.fit(secret, LABELS)
    file = maml.save(tmp_path / "it")
    joblib.dump(maml, tmp_path / "pickled")
    for path in (file, tmp_path / "pickled"):
        assert b"qwxzyk" not in path.read_bytes().lower() and b"negative" in path.read_bytes()
    joblib.dump([maml, secret], tmp_path / "pickled")  # so it would be seen
    assert b"qwxzyk" in (tmp_path / "pickled").read_bytes().lower()


def test_a_file_writes_nothing_twice_and_runs_nothing(maml, tmp_path):
    file = maml.set_params(settings={"frozen": ["encoder.*"]}).fit(TEXTS, LABELS).save(tmp_path / "it")
    with safe_open(file, "pt") as opened:
        about, names = json.loads(opened.metadata()["metalingua"]), set(opened.keys())
    assert {name for name in names if name.startswith("adapted.")} == {
        "adapted.head.classification_2.weight",
        "adapted.head.classification_2.bias",
    }
    assert len(about["adapted"]) > 2
    tensors = safetensors.torch.load_file(file)

    def put(**changes):
        safetensors.torch.save_file(tensors, file, {"metalingua": json.dumps({**about, **changes})})

    put()
    assert metalingua.load(file).predict(ASKED).shape == (4,)
    flag = tmp_path / "flag"
    for target in ("os.mkdir", "metalingua.result.run.os.mkdir", "metalingua.result.run.write_atomically", "x.y", 3):
        put(learner={**about["learner"], "inner": {"_target_": target, "_args_": [str(flag)]}})
        with pytest.raises(UserError, match="is no class of metalingua"):
            metalingua.load(file)
    assert not flag.exists()
    put(format=0)
    with pytest.raises(UserError, match="another version"):
        metalingua.load(file)
    put(model=None, text=None, heads=3)
    whole = file.read_bytes()
    for damaged in (whole[:200], whole[: len(whole) // 2], b""):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged"):
            metalingua.load(file)


# ---- texts


def test_long_texts_are_cut_counted_and_told_once(maml):
    long = " ".join(["bar"] * 13)
    with pytest.warns(UserWarning, match="more than 12 tokens") as told:
        maml.fit([*TEXTS, long, " ".join(["cel"] * 12)], [*LABELS, *LABELS[:2]])
        maml.predict([long, long + " lovely"])
    assert maml.cut_ == 3 and len(told) == 1
    one, other = maml.outputs([long, long + " lovely lovely"])
    np.testing.assert_array_equal(one, other)  # what is beyond is not read
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        maml.fit(TEXTS, LABELS).predict(ASKED)
    assert maml.cut_ == 0


def test_a_stream_is_never_held(proto):
    proto.set_params(batch_size=4).fit(TEXTS, LABELS)
    asked, begun = ASKED * 5, []
    expected = proto.outputs(asked)

    def stream():
        for text in asked:
            begun.append(text)
            yield text

    np.testing.assert_allclose(proto.outputs(stream()), expected, atol=1e-6)
    assert len(begun) == 20

    def long_ones(count):
        return (f"{i} " + "lovely " * 5000 for i in range(count))

    def peak(make):
        tracemalloc.start()
        proto.predict(make())
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        proto.predict(long_ones(4))
        few, many = peak(lambda: long_ones(8)), peak(lambda: long_ones(200))
        assert many < 2 * few
        assert peak(lambda: list(long_ones(200))) > 5 * few  # so that it would be seen


def test_texts_that_cannot_be_asked(maml):
    maml.fit(TEXTS, LABELS)
    for texts, says in [("one text", "texts is one text"), (["a", ""], "text 1 is empty"), ([None], "text 0 is None")]:
        with pytest.raises(ValueError, match=says):
            maml.predict(texts)
    with pytest.raises(ValueError, match="batch_size is 0"):
        maml.set_params(batch_size=0).fit(TEXTS, LABELS)


def test_a_learner_that_reads_the_queries_takes_a_call_as_one(maml):
    estimator = made(maml, "soft_kmeans").set_params(batch_size=1).fit(TEXTS, LABELS)
    together, alone = estimator.outputs(ASKED), np.concatenate([estimator.outputs([text]) for text in ASKED])
    assert not np.allclose(together, alone)
    kept = made(maml, "proto_net").set_params(batch_size=1).fit(TEXTS, LABELS)
    np.testing.assert_allclose(kept.outputs(ASKED), np.concatenate([kept.outputs([t]) for t in ASKED]), atol=1e-6)


# ---- the package


def test_importing_metalingua_loads_nothing_heavy(run):
    code = f"""
import sys, metalingua
heavy = {{"torch", "sklearn", "numpy", "pytorch_lightning", "hydra", "importlib.metadata"}}
print("heavy:", sorted(heavy & set(sys.modules)))
assert metalingua.__version__ and callable(metalingua.load)
metalingua.load({str(run)!r})
print("then:", sorted(heavy & set(sys.modules)))
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, env=env)
    assert ran.returncode == 0, ran.stderr
    assert "heavy: []" in ran.stdout and "'torch'" in ran.stdout.split("then:")[1]


def test_a_run_is_read_from_any_folder(run, maml, monkeypatch, tmp_path):
    config = OmegaConf.load(run / "config.yaml")
    monkeypatch.chdir(tmp_path)
    assert metalingua.load(run).learned.learner == maml.learned.learner
    assert maml.learned.model == {k: v for k, v in OmegaConf.to_container(config.model).items() if k != "init_from"}


@pytest.mark.parametrize("tuning", ["frozen", "lora"])
def test_a_pretrained_encoder_is_found_from_any_folder_and_its_tokenizer_remembers_no_stream(
    tmp_path, monkeypatch, tuning
):
    (tmp_path / "checkout").mkdir()
    folder = tiny.checkout(tmp_path / "checkout")
    experiment = folder / "conf/experiment/tiny.yaml"  # of an LSTM: its settings go
    lines = experiment.read_text().splitlines()
    experiment.write_text("\n".join(line for line in lines if not line.startswith(("text:", "model:"))))
    (folder / "bert").mkdir()
    bert.save(folder / "bert", words=tiny.GOOD + tiny.BAD + tiny.PLAIN, vocab_size=60)
    words = ["model=huggingface", "model.source.path=bert", f"model.tuning={tuning}", "learner=proto_maml",
             "~learner.tuned", "compare=null", "reference=[]", "paths.outputs=outputs"]  # fmt: skip
    code, _, err = tiny.train(folder, *words)
    assert (code, err) == (0, "")
    (run,) = (folder / "outputs/tiny").iterdir()
    monkeypatch.chdir(tmp_path)
    estimator = metalingua.load(run).set_params(batch_size=2).fit(TEXTS, ["a", "b", "c"] * 2)
    before = estimator.outputs(ASKED)
    np.testing.assert_allclose(metalingua.load(estimator.save("it")).outputs(ASKED), before, atol=1e-5)
    assert not estimator.learned.reader._known
    with pytest.warns(UserWarning, match="more than 12 tokens"):  # [CLS] and [SEP] are two of these
        estimator.predict([" ".join(["bar"] * 10), " ".join(["bar"] * 11)])
    assert estimator.cut_ == 1


def test_a_run_that_answers_token_by_token_is_refused():
    from metalingua.estimator.learned import _trained

    corpus = {"labels": None, "rating_range": None}
    config = {"task": {"ways": 2, "corpora": {"en_de": corpus}, "meta_train": {"en_de": {"corpus": "en_de"}}}}
    with pytest.raises(UserError, match="answers token by token .en_de has neither labels nor ratings"):
        _trained(config, True)
    assert _trained(config, False) == ({}, [])
