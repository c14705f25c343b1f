import math
from dataclasses import replace

import torch
from given import given
from proof import Proof
from torch.testing import assert_close

from metalingua.learner.matching_net import MatchingNet
from metalingua.problem.classification import Classification
from metalingua.problem.regression import Regression

LEARNER = MatchingNet("MatchingNet")
E = math.e


class TestMatchingNet(Proof):
    learner = LEARNER


def test_attention_by_hand():
    model, params, support, query = given([[1.0, 0], [0, 2], [0, 3]], [0, 1, 1], [[5.0, 0], [0, -1]])
    shares = LEARNER.adapt(model, params, support).outputs(query).exp()
    assert_close(shares[0], torch.tensor([E / (E + 2), 2 / (E + 2)]).double())  # cosines 1, 0, 0
    assert_close(shares[1], torch.tensor([1 / (1 + 2 / E), 2 / E / (1 + 2 / E)]).double())  # 0, -1, -1
    other = replace(support, targets=torch.tensor([1, 0, 0]))
    assert_close(LEARNER.adapt(model, params, other).outputs(query).exp(), shares.flip(1))


def test_only_directions_count():
    support, targets, query = [[1.0, 0], [0.6, 0.8], [0, 3]], [0, 1, 1], [[5.0, 1]]

    def answers(factor, turned=0.0):
        model, params, examples, inputs = given(
            [[factor * x, y if factor == 1 else factor * y + turned] for x, y in support], targets, query
        )
        return LEARNER.adapt(model, params, examples).outputs(inputs)

    assert_close(answers(7.0), answers(1))
    assert not torch.allclose(answers(7.0, turned=2.0), answers(1))


def test_ratings_are_refused_with_a_reason():
    assert "a number has no classes" in LEARNER.refuses(Regression(-4, 4))
    assert LEARNER.refuses(Classification(2)) is None
