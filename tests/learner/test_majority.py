from dataclasses import replace

import numpy as np
import pytest
import torch
from proof import COUNTEREXAMPLE, Proof
from toy import tiny_episodes, tiny_model, tiny_params, tiny_tasks

from metalingua.learner.majority import Majority
from metalingua.training.engine import Engine

EPISODES = tiny_episodes("meta_test")
MODEL = tiny_model()
LEARNER = Majority("majority class")


def judge(*episodes):
    return Engine(1).judge(LEARNER, MODEL, tiny_params(MODEL, torch.float32), episodes)


@pytest.mark.parametrize("index", [0, 2])
def test_on_a_balanced_support_set_it_is_chance(index):
    ways = EPISODES[index].support.problem.ways
    judged = judge(*(EPISODES[index + 4 * n] for n in range(5)))
    for each in judged:
        assert each.statistics["accuracy"] == each.statistics["balanced_accuracy"] == 1 / ways
        assert each.statistics["loss"] == pytest.approx(np.log(ways))
        assert (each.predictions == 0).all() and each.moved == 0


def test_it_answers_the_commonest_class_of_the_support_set():
    episode = EPISODES[2]
    for targets, commonest in [([2, 2, 2, 2, 1, 1, 0, 0, 0], 2), ([0, 1, 1, 1, 2, 2, 1, 0, 2], 1)]:
        skewed = replace(episode, support=replace(episode.support, targets=torch.tensor(targets)))
        assert (judge(skewed)[0].predictions == commonest).all()


def test_of_ratings_it_answers_the_mean():
    episode = tiny_episodes("meta_test", tasks=tiny_tasks()[3:])[0]
    judged = judge(episode)[0]
    assert judged.predictions == pytest.approx(np.full(8, episode.support.labels.mean()), abs=1e-5)
    assert judged.statistics["score"] <= 0


class TestMajority(Proof):
    learner = LEARNER
    lacks = {"overfits": COUNTEREXAMPLE}
