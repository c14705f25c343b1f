from dataclasses import replace

import numpy as np
import pytest
import torch
from proof import COUNTEREXAMPLE, EPISODES, TASKS, Proof
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from metalingua.error import UserError
from metalingua.learner.pooled import Pooled
from metalingua.problem.regression import Regression


def fitted(tasks=TASKS):
    learner = Pooled("pooled", 10.0)
    learner.fit(tasks)
    return learner


def answers(learner, episode, **changes):
    return learner.adapt(None, {}, replace(episode.support, **changes)).outputs(episode.query.inputs)


def of_scikit_learn(texts, labels, inputs):
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    vectors.fit(list(dict.fromkeys(texts)))
    line = LogisticRegression(C=10.0, max_iter=1000).fit(vectors.transform(texts), labels)
    return torch.from_numpy(line.predict_log_proba(vectors.transform(inputs.texts)))


def test_the_answers_are_scikit_learns_on_all_texts_of_tasks_with_equally_many_ways():
    films, polarity, three_way, _ = TASKS
    two, three = EPISODES[0], EPISODES[2]
    texts, labels = [*films.texts, *polarity.texts], [*films.labels, *polarity.labels]
    torch.testing.assert_close(answers(fitted(), two), of_scikit_learn(texts, labels, two.query.inputs),
                               rtol=1e-3, atol=1e-3)  # fmt: skip
    torch.testing.assert_close(
        answers(fitted(), three), of_scikit_learn(three_way.texts, three_way.labels, three.query.inputs),
        rtol=1e-3, atol=1e-3)  # fmt: skip
    alone = of_scikit_learn(films.texts, films.labels, two.query.inputs)
    assert not torch.allclose(answers(fitted(), two), alone, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(answers(fitted([films]), two), alone, rtol=1e-3, atol=1e-3)


def test_a_task_counts_a_text_once_and_two_tasks_twice():
    films = TASKS[0]
    again = replace(films, texts=films.texts * 2, labels=np.tile(films.labels, 2))
    torch.testing.assert_close(answers(fitted([again]), EPISODES[0]), answers(fitted([films]), EPISODES[0]))
    # the same texts cut elsewhere: a text with two labels is in the pool with both
    turned = replace(films, labels=1 - films.labels)
    both = answers(fitted([films, turned]), EPISODES[0]).exp()
    assert torch.allclose(both, torch.full_like(both, 0.5), atol=1e-3)
    most = answers(fitted([films, films, turned]), EPISODES[0])
    assert torch.equal(most.argmax(-1), answers(fitted([films]), EPISODES[0]).argmax(-1))


def test_no_label_of_the_support_set_is_read():
    support = EPISODES[0].support
    found = answers(fitted(), EPISODES[0])
    assert torch.equal(answers(fitted(), EPISODES[0], targets=support.targets.flip(0)), found)
    assert fitted().adapt(None, {}, support).params == {}
    assert torch.equal(found.argmax(-1), EPISODES[0].query.targets)


def test_tasks_whose_places_mean_no_class_are_left_out():
    drawn = replace(TASKS[2], ways=2)  # two of three classes an episode
    torch.testing.assert_close(
        answers(fitted([TASKS[0], drawn]), EPISODES[0]), answers(fitted([TASKS[0]]), EPISODES[0])
    )
    with pytest.raises(UserError, match="no task of meta-training tells 2 classes apart"):
        answers(fitted([drawn]), EPISODES[0])


def test_ratings_are_refused_with_a_reason():
    assert "does not answer with a number" in Pooled("", 1.0).refuses(Regression(-4, 4))


def test_texts_are_read_once_for_all_settings(monkeypatch):
    read = []
    whole = TfidfVectorizer.fit_transform
    monkeypatch.setattr(TfidfVectorizer, "fit_transform", lambda *args: read.append(1) or whole(*args))
    tasks = [replace(TASKS[0], texts=[f"{text} unread" for text in TASKS[0].texts])]  # read by no other test
    for penalty in (1.0, 10.0):
        learner = Pooled("", penalty)
        learner.fit(tasks)
        for episode in EPISODES[:2]:
            answers(learner, episode)
    assert len(read) == 1


class TestPooled(Proof):
    learner = staticmethod(fitted)
    lacks = {"renaming": COUNTEREXAMPLE, "any_ways": COUNTEREXAMPLE}
