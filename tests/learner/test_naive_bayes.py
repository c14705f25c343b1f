from dataclasses import replace

import numpy as np
import pytest
import torch
from proof import EPISODES, Proof

from metalingua.learner.naive_bayes import NaiveBayes
from metalingua.problem.regression import Regression
from metalingua.text.batch import Inputs


def inputs(*texts):
    return Inputs(torch.zeros(len(texts), 1), torch.ones(len(texts)), texts)


def answer(smoothing, text):
    support = replace(EPISODES[0].support, inputs=inputs("good good film", "a bad film", "bad"),
                      targets=torch.tensor([0, 1, 1]))  # fmt: skip
    return NaiveBayes("", smoothing).adapt(None, {}, support).outputs(inputs(text)).exp()[0].tolist()


def test_bayes_rule_by_hand():
    # words: a, bad, film, good. Class 0: good 2, film 1. Class 1: bad 2, a 1, film 1. Prior 1/3, 2/3
    for smoothing in (1.0, 0.1):
        first = 1 / 3 * (2 + smoothing) / (3 + 4 * smoothing) * (1 + smoothing) / (3 + 4 * smoothing)
        second = 2 / 3 * smoothing / (4 + 4 * smoothing) * (1 + smoothing) / (4 + 4 * smoothing)
        assert answer(smoothing, "Good film") == pytest.approx([first / (first + second), second / (first + second)])
    assert answer(1.0, "an unknown word") == pytest.approx([1 / 3, 2 / 3])  # the prior
    assert answer(1.0, "good") != pytest.approx(answer(1.0, "good good"))  # counts, not presence


def test_a_class_without_support_is_impossible_and_nothing_is_shifted():
    support, query = EPISODES[2].support, EPISODES[2].query.inputs
    outputs = NaiveBayes("", 1.0).adapt(None, {}, replace(support, targets=support.targets.clamp(min=1))).outputs(query)
    assert outputs[:, 0].eq(-np.inf).all() and outputs[:, 1:].isfinite().all()


def test_ratings_are_refused_with_a_reason():
    assert "does not answer with a number" in NaiveBayes("", 1.0).refuses(Regression(-4, 4))


def test_a_smoothing_that_cannot_work_is_named():
    with pytest.raises(ValueError, match=r"learner\.smoothing is 0: it must be .*above 0"):
        NaiveBayes("", 0)


class TestNaiveBayes(Proof):
    learner = NaiveBayes("naive Bayes", 1.0)
