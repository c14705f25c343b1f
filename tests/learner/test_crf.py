import pycrfsuite
import torch
from proof import Proof
from tagged import OTHER_TASKS, PROBLEM, TAGS, TEXTS, answered, examples, inputs_of
from torch.testing import assert_close

from metalingua.learner.crf import Crf, described, shape
from metalingua.problem.classification import Classification

LEARNER = Crf("CRF", 0.01, 50)


class TestCrf(Proof):
    learner = LEARNER
    lacks = {name.removeprefix("test_"): OTHER_TASKS for name in vars(Proof) if name.startswith("test_")}


def test_it_finds_what_it_has_seen_and_names_by_their_shape():
    for text, tags in zip(TEXTS, TAGS, strict=True):
        assert answered(LEARNER, text) == tags.split()
    assert answered(LEARNER, "they went to Paris .") == ["O", "O", "O", "B-LOC", "O"]


def test_probabilities_are_crfsuites(tmp_path):
    trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
    trainer.set_params({"c1": 0.0, "c2": 0.01, "max_iterations": 50})
    for text, tags in zip(TEXTS, TAGS, strict=True):
        trainer.append([*described(text.split())], tags.split())
    trainer.train(str(tmp_path / "crf"))
    tagger = pycrfsuite.Tagger()
    tagger.open(str(tmp_path / "crf"))
    text = "Dee went to Rome ."
    tagger.set([*described(text.split())])
    found = LEARNER.adapt(None, {}, examples()).outputs(inputs_of([text])).exp()
    for tag in PROBLEM.tags:
        expected = torch.tensor([tagger.marginal(tag, place) for place in range(5)])
        assert_close(found[:, PROBLEM.tags.index(tag)], expected, rtol=1e-3, atol=1e-5)


def test_shapes_of_words():
    assert [shape(word) for word in ("Nairobi", "U.S.", "1999", "iPhone", "A")] == ["Xx", "X.X.", "d", "xXx", "X"]


def test_the_edge_of_a_sentence_is_a_feature():
    first, last = described(["Ada", "smiled"])
    assert "-1:edge" in first and "+1:word=smiled" in first and "+1:edge" in last


def test_it_refuses_what_has_no_tags():
    assert "tags words" in LEARNER.refuses(Classification(2)) and LEARNER.refuses(PROBLEM) is None


def test_a_sentence_of_which_nothing_is_read_has_no_answer_and_changes_no_other():
    asked = ["Dee went to Rome .", "", "Bo saw Lima ."]
    predictor = LEARNER.adapt(None, {}, examples([*TEXTS, ""], [*TAGS, ""]))
    expected = LEARNER.adapt(None, {}, examples()).outputs(inputs_of([asked[0], asked[2]]))
    assert_close(predictor.outputs(inputs_of(asked)), expected)
