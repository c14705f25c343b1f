from types import SimpleNamespace

import pytest
import torch
from given import given
from proof import Proof
from torch.nn.functional import cross_entropy
from torch.testing import assert_close
from toy import tiny_model

from metalingua.learner.relation_net import RelationNet
from metalingua.problem.classification import Classification
from metalingua.problem.regression import Regression

LEARNER = RelationNet("RelationNet", hidden=30)


class TestRelationNet(Proof):
    learner = LEARNER
    overfit_lr = 0.03


def by_hand():
    """Classes 1 + 2 = 3 and -1, a text 0.5: g is relu(class + text) * 2 - 1."""
    model, params, support, query = given([[1.0], [2], [-1]], [0, 0, 1], [[0.5]])
    own = {"hidden.weight": [[1.0, 1]], "hidden.bias": [0.0], "score.weight": [[2.0]], "score.bias": [-1.0]}
    params |= {f"learner.relation_net.{name}": torch.tensor(value).double() for name, value in own.items()}
    return model, params, support, query


def test_a_class_is_the_sum_of_its_texts():
    model, params, support, query = by_hand()
    predictor = LEARNER.adapt(model, params, support)
    assert predictor.params["classes"].tolist() == [[3], [-1]]
    assert predictor.outputs(query).tolist() == [[6, -1]]  # with means: [[3, -1]]
    params["learner.relation_net.hidden.weight"] = torch.tensor([[1.0, 0]]).double()
    assert LEARNER.adapt(model, params, support).outputs(query).tolist() == [[5, -1]]  # the class's column is first


def test_the_loss_is_the_squared_error_of_sigmoid_scores():
    model, params, support, query = by_hand()
    truth = SimpleNamespace(inputs=query, problem=support.problem, targets=torch.tensor([0]))
    found = LEARNER.episode_loss(model, params, SimpleNamespace(support=support, query=truth))
    scores = torch.tensor([6.0, -1]).double().sigmoid()
    assert_close(found, ((scores[0] - 1) ** 2 + scores[1] ** 2) / 2)
    assert not torch.allclose(found, cross_entropy(torch.tensor([[6.0, -1]]).double(), truth.targets), rtol=1e-2)


def test_fresh_parameters_are_a_function_of_the_seed():
    model = tiny_model()
    first, again, other = (LEARNER.init(model, seed) for seed in (0, 0, 1))
    assert {name: value.shape for name, value in first.items()} == {
        "learner.relation_net.hidden.weight": (30, 8),
        "learner.relation_net.hidden.bias": (30,),
        "learner.relation_net.score.weight": (1, 30),
        "learner.relation_net.score.bias": (1,),
    }
    for name, value in first.items():
        assert torch.equal(value, again[name]) and not torch.equal(value, other[name])
        assert value.abs().max() <= (8 if "hidden" in name else 30) ** -0.5


def test_ratings_and_sizes_that_cannot_work_are_refused():
    assert "a number has no classes" in LEARNER.refuses(Regression(-4, 4))
    assert LEARNER.refuses(Classification(2)) is None
    with pytest.raises(ValueError, match=r"learner\.hidden is 0: it must be .*at least 1"):
        RelationNet("RelationNet", hidden=0)
