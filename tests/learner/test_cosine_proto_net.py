import math
from dataclasses import replace

import pytest
import torch
from given import given
from proof import Proof
from torch.testing import assert_close

from metalingua.learner.cosine_proto_net import CosineProtoNet
from metalingua.problem.classification import Classification
from metalingua.problem.regression import Regression

LEARNER = CosineProtoNet("cosine ProtoNet", 0.5)


class TestCosineProtoNet(Proof):
    learner = LEARNER


def test_two_prototypes_by_hand():
    model, params, support, query = given([[1.0, 0], [0, 5], [0, -2]], [0, 0, 1], [[3.0, 3], [0, 7]])
    predictor = LEARNER.adapt(model, params, support)
    half = math.sqrt(0.5)
    assert_close(predictor.params["prototypes"], torch.tensor([[half, half], [0, -1]]).double())
    assert_close(predictor.outputs(query), torch.tensor([[2, -2 * half], [2 * half, -2]]).double())
    other = replace(support, targets=torch.tensor([0, 1, 0]))  # so the labels are read
    assert not torch.allclose(LEARNER.adapt(model, params, other).outputs(query), predictor.outputs(query))


def test_a_text_a_class_is_info_nce():
    """Equation 4 of Gao et al. (2021), from its own cosines."""
    dice = torch.Generator().manual_seed(0)
    first, second = (torch.randn(5, 3, generator=dice, dtype=torch.float64) for _ in range(2))
    model, params, support, query = given(first, range(5), second)
    learner, targets = CosineProtoNet("SimCSE", 0.05), torch.arange(5)
    found = Classification(5).loss(learner.adapt(model, params, support).outputs(query), targets)
    similar = torch.nn.functional.cosine_similarity(second.unsqueeze(1), first.unsqueeze(0), dim=2) / 0.05
    assert_close(found, -(similar.diagonal() - similar.exp().sum(1).log()).mean())
    assert not torch.allclose(Classification(5).loss(LEARNER.adapt(model, params, support).outputs(query), targets),
                              found)  # fmt: skip


def test_only_directions_count():
    def answers(x, y):
        model, params, support, query = given([[1.0, 0], [x, y]], [0, 1], [[2.0, 1]])
        return LEARNER.adapt(model, params, support).outputs(query)

    assert_close(answers(0, 9.0), answers(0, 1))
    assert not torch.allclose(answers(1, 1.0), answers(0, 1))


def test_ratings_are_refused_with_a_reason():
    assert "a number has no classes" in LEARNER.refuses(Regression(-4, 4))
    assert LEARNER.refuses(Classification(2)) is None


def test_a_temperature_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"learner\.temperature is 0: it must be a number, above 0"):
        CosineProtoNet("", 0)
