import math

import pytest
import torch
from given import given, texts
from proof import COUNTEREXAMPLE, Proof
from torch.testing import assert_close

from metalingua.learner.soft_kmeans import SoftKMeans
from metalingua.problem.regression import Regression


def outputs(refinements, queries, seen=True):
    model, params, support, inputs = given([[-2.0], [2.0]], [0, 1], queries)
    predictor = SoftKMeans("", refinements).adapt(model, params, support, inputs if seen else None)
    return predictor.outputs(inputs), predictor.params["prototypes"].squeeze(1)


def test_one_refinement_by_hand():
    found, prototypes = outputs(1, [[1.0]])
    share = 1 / (1 + math.exp(-8))  # of the query at 1 for the class at 2: distances 9 and 1
    low, high = (-2 + (1 - share)) / (2 - share), (2 + share) / (1 + share)
    assert_close(prototypes, torch.tensor([low, high], dtype=torch.float64))
    assert_close(found, -torch.tensor([[(1 - low) ** 2, (1 - high) ** 2]], dtype=torch.float64))
    unmoved, _ = outputs(0, [[1.0]])
    assert_close(unmoved, -torch.tensor([[9.0, 1.0]], dtype=torch.float64))


def test_the_queries_draw_the_prototypes_to_where_they_are():
    crowd = [[-0.4]] * 5 + [[5.0]] * 5  # the true classes, if the support texts are odd ones
    (_, before), (_, after) = outputs(0, crowd), outputs(1, crowd)
    assert before.tolist() == [-2, 2]
    assert after[0] > -1 and after[1] > 4
    _, settled = outputs(50, crowd)
    _, next_one = outputs(51, crowd)
    assert_close(settled, next_one)
    assert not torch.allclose(settled, after)


def test_without_queries_it_is_a_prototypical_network():
    assert torch.equal(outputs(3, [[1.0]], seen=False)[0], outputs(0, [[1.0]])[0])


def test_meta_training_goes_through_the_refinement():
    model, params, support, inputs = given([[-2.0], [2.0]], [0, 1], [[1.0], [0.5]])
    x = params[model.rows].requires_grad_()
    mine = SoftKMeans("", 1).adapt(model, {model.rows: x}, support, inputs)
    other = texts(2, 1)  # the slope of the first query's answer towards the second query's feature
    (slope,) = torch.autograd.grad(mine.outputs(other)[0, 0], x)
    assert slope[3].abs() > 0.1
    (slope,) = torch.autograd.grad(
        SoftKMeans("", 0).adapt(model, {model.rows: x}, support, inputs).outputs(other)[0, 0], x
    )
    assert slope[3] == 0


def test_ratings_are_refused_with_a_reason():
    assert "a number has no classes" in SoftKMeans("", 1).refuses(Regression(-4, 4))


def test_a_setting_that_cannot_be_is_named():
    with pytest.raises(ValueError, match=r"learner\.refinements is -1: it must be .*at least 0"):
        SoftKMeans("", -1)


class TestSoftKMeans(Proof):
    learner = SoftKMeans("soft k-means", 1)
    lacks = {"inductive": COUNTEREXAMPLE}
