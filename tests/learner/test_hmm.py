import itertools

import numpy as np
import pytest
import torch
from proof import Proof
from tagged import OTHER_TASKS, PROBLEM, TAGS, TEXTS, answered, examples, inputs_of
from torch.testing import assert_close

from metalingua.learner.hmm import Hmm
from metalingua.problem.classification import Classification

LEARNER = Hmm("HMM", 0.1)


class TestHmm(Proof):
    learner = LEARNER
    lacks = {name.removeprefix("test_"): OTHER_TASKS for name in vars(Proof) if name.startswith("test_")}


def test_probabilities_are_those_of_all_sequences_summed():
    """By hand: all tag sequences of three words, each with its probability from counts plus 0.1."""
    support = examples(["a b", "b a"], ["B-PER O", "O O"])
    tags, words = range(5), ["a", "b", "b"]
    first, follows = np.full(5, 0.1), np.full((5, 5), 0.1)
    first[[1, 0]] += 1
    follows[1, 0] += 1
    follows[0, 0] += 1
    said = np.full((5, 2), 0.1)
    said[1, 0] += 1  # a as B-PER
    said[0] += [1, 2]
    first, follows, said = (
        first / first.sum(),
        follows / follows.sum(1, keepdims=True),
        said / said.sum(1, keepdims=True),
    )
    whole = np.zeros((3, 5))
    for each in itertools.product(tags, repeat=3):
        p = first[each[0]] * follows[each[0], each[1]] * follows[each[1], each[2]]
        p *= np.prod([said[tag, "ab".index(word)] for tag, word in zip(each, words, strict=True)])
        for place, tag in enumerate(each):
            whole[place, tag] += p
    outputs = LEARNER.adapt(None, {}, support).outputs(inputs_of([" ".join(words)]))
    assert_close(outputs.exp(), torch.from_numpy(whole / whole.sum(1, keepdims=True)).float())


def test_it_finds_what_it_has_seen_and_names_by_their_shape():
    for text, tags in zip(TEXTS, TAGS, strict=True):
        assert answered(LEARNER, text) == tags.split()
    assert answered(LEARNER, "they went to Paris .") == ["O", "O", "O", "B-LOC", "O"]


def test_it_refuses_what_has_no_tags():
    assert "tags words" in LEARNER.refuses(Classification(2)) and LEARNER.refuses(PROBLEM) is None


def test_texts_that_are_not_their_items_are_an_error():
    from dataclasses import replace

    with pytest.raises(ValueError, match="2 words between blanks, and 5 items"):
        LEARNER.adapt(None, {}, examples()).outputs(replace(inputs_of(TEXTS[:1]), texts=("Ada went",)))


def test_a_sentence_of_which_nothing_is_read_has_no_answer_and_changes_no_other():
    asked = ["Dee went to Rome .", "", "Bo saw Lima ."]
    predictor = LEARNER.adapt(None, {}, examples([*TEXTS, ""], [*TAGS, ""]))
    expected = LEARNER.adapt(None, {}, examples()).outputs(inputs_of([asked[0], asked[2]]))
    assert_close(predictor.outputs(inputs_of(asked)), expected)
