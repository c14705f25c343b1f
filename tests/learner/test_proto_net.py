from dataclasses import replace

import torch
from given import given
from proof import Proof
from torch.testing import assert_close

from metalingua.learner.proto_net import ProtoNet
from metalingua.problem.classification import Classification
from metalingua.problem.regression import Regression

LEARNER = ProtoNet("ProtoNet")


class TestProtoNet(Proof):
    learner = LEARNER


def test_two_prototypes_by_hand():
    model, params, support, query = given([[0.0, 0], [2, 0], [0, 4]], [0, 0, 1], [[1.0, 1], [0, 4]])
    predictor = LEARNER.adapt(model, params, support)
    assert predictor.params["prototypes"].tolist() == [[1, 0], [0, 4]]
    assert predictor.outputs(query).tolist() == [[-1, -10], [-17, 0]]
    other = replace(support, targets=torch.tensor([0, 1, 1]))  # so the labels are read
    assert_close(LEARNER.adapt(model, params, other).outputs(query)[0], torch.tensor([-2.0, -1]).double())


def test_ratings_are_refused_with_a_reason():
    assert "a number has no classes" in LEARNER.refuses(Regression(-4, 4))
    assert LEARNER.refuses(Classification(2)) is None
