from dataclasses import replace

import numpy as np
import pytest
import torch
from proof import Proof
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from toy import tiny_episodes, tiny_model, tiny_params

from metalingua.learner.tfidf import Tfidf
from metalingua.problem.classification import Classification
from metalingua.problem.regression import Regression
from metalingua.training.engine import Engine

EPISODES = tiny_episodes("meta_test", shots=10, queries=10)
MODEL = tiny_model()
LEARNER = Tfidf("TF-IDF", 10.0)


def test_ratings_are_refused_with_a_reason():
    assert "does not answer with a number" in LEARNER.refuses(Regression(-4, 4))
    assert LEARNER.refuses(Classification(2)) is None and LEARNER.refuses(Classification(3)) is None


@pytest.mark.parametrize("index", [0, 2])
def test_the_answers_are_scikit_learns(index):
    support, query = EPISODES[index].support, EPISODES[index].query
    outputs = LEARNER.adapt(MODEL, {}, support).outputs(query.inputs)
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    line = LogisticRegression(C=10.0, max_iter=1000).fit(vectors.fit_transform(support.inputs.texts), support.targets)
    expected = line.predict_proba(vectors.transform(query.inputs.texts))
    torch.testing.assert_close(outputs.exp(), torch.from_numpy(expected))
    judged = Engine(1).judge(LEARNER, MODEL, tiny_params(MODEL, torch.float32), [EPISODES[index]])[0]
    assert judged.statistics["accuracy"] > 1.3 / support.problem.ways
    assert judged.predictions.tolist() == expected.argmax(1).tolist()
    assert judged.moved == line.coef_.size + line.intercept_.size


def test_a_class_without_support_is_impossible_and_nothing_is_shifted():
    support, inputs = EPISODES[2].support, EPISODES[2].query.inputs
    outputs = LEARNER.adapt(MODEL, {}, replace(support, targets=support.targets.clamp(min=1))).outputs(inputs)
    assert outputs[:, 0].eq(-np.inf).all()
    assert outputs[:, 1:].isfinite().all()


def test_a_penalty_that_cannot_work_is_named():
    with pytest.raises(ValueError, match=r"learner\.inverse_penalty is 0: it must be .*above 0"):
        Tfidf("TF-IDF", 0)


class TestTfidf(Proof):
    learner = LEARNER
    renaming_rtol, renaming_atol = 1e-2, 1e-3  # the solver stops early
