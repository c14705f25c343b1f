import numpy as np
import pytest
import torch
from given import given
from proof import COUNTEREXAMPLE, EPISODES, Proof
from torch.testing import assert_close
from toy import tiny_model, tiny_params

from metalingua.learner.laplacian_shot import LaplacianShot
from metalingua.learner.proto_net import ProtoNet
from metalingua.problem.classification import Classification
from metalingua.problem.regression import Regression
from metalingua.training.engine import localise

DICE = np.random.default_rng(0)
SUPPORT, TARGETS = DICE.normal(size=(6, 2)).tolist(), [0, 1, 2, 0, 1, 2]
QUERIES = DICE.normal(size=(9, 2)).tolist()


def answers(queries=QUERIES, support=SUPPORT, targets=TARGETS, ways=3, smoothness=0.7, neighbours=3, iterations=4):
    model, params, known, inputs = given(support, targets, queries, Classification(ways))
    learner = LaplacianShot("", smoothness, neighbours, iterations)
    return learner.adapt(model, params, known, inputs).outputs(inputs).softmax(-1).numpy()


def by_loops(smoothness, neighbours, iterations):
    """Algorithm 1, a query and a class at a time; the classes of the queries, and the energy (eq. 1, relaxed with the
    entropy that the bound brings) after each update."""
    means = [np.mean([x for x, y in zip(SUPPORT, TARGETS, strict=True) if y == c], axis=0) for c in range(3)]
    unary = [[float(np.sum((np.array(x) - mean) ** 2)) for mean in means] for x in QUERIES]
    near = []
    for q, x in enumerate(QUERIES):
        others = [p for p in range(len(QUERIES)) if p != q]
        near.append(
            sorted(others, key=lambda p: sum((a - b) ** 2 for a, b in zip(x, QUERIES[p], strict=True)))[:neighbours]
        )  # noqa: E501, B023

    def normal(row):
        row = np.exp(np.array(row))
        return row / row.sum()

    y = [normal([-d for d in row]) for row in unary]
    for _ in range(iterations):
        y = [
            normal([-unary[q][c] + smoothness * sum(y[p][c] for p in near[q]) for c in range(3)])
            for q in range(len(QUERIES))
        ]
    return np.array(y)


@pytest.mark.parametrize("how", [(0.7, 3, 4), (1.5, 1, 1), (0.1, 8, 20)])
def test_the_answers_are_algorithm_1s(how):
    smoothness, neighbours, iterations = how
    found = answers(smoothness=smoothness, neighbours=neighbours, iterations=iterations)
    np.testing.assert_allclose(found, by_loops(*how), rtol=1e-9)
    assert not np.allclose(found, by_loops(smoothness, neighbours, iterations + 1), rtol=1e-9) or iterations == 20
    assert not np.allclose(found, by_loops(0, neighbours, iterations), rtol=1e-3)


def test_a_query_goes_with_its_neighbours():
    support, targets = [[0.0], [4.0]], [0, 1]
    queries = [[1.95], [2.3], [2.4], [2.5], [-0.5], [-0.6], [-0.7]]  # the first is nearer to class 0's mean
    alone = answers(queries, support, targets, 2, smoothness=0.0)
    together = answers(queries, support, targets, 2, smoothness=1.0)
    assert alone[0, 0] > 0.5 > together[0, 0]
    assert (alone[1:].argmax(1) == together[1:].argmax(1)).all()


def test_a_text_is_no_neighbour_of_itself():
    # two queries far apart: with itself for a neighbour the first would only become surer
    found = answers([[1.0], [9.0]], [[0.0], [4.0]], [0, 1], 2, smoothness=1.0, neighbours=1, iterations=1)
    alone = answers([[1.0], [9.0]], [[0.0], [4.0]], [0, 1], 2, smoothness=0.0)
    assert found[0, 1] > alone[0, 1]
    # and a lone query has none
    assert_close(answers([[1.0]], [[0.0], [4.0]], [0, 1], 2), alone[:1])


def test_it_is_meta_trained_as_a_prototypical_network_and_judged_with_the_graph():
    learner, model, episode = LaplacianShot("", 1.0, 3, 5), tiny_model(), EPISODES[2]
    params = localise(model, {k: v.detach() for k, v in tiny_params(model).items()}, episode)
    assert torch.equal(learner.episode_loss(model, params, episode), ProtoNet("").episode_loss(model, params, episode))
    query = episode.query
    seen = learner.adapt(model, params, episode.support, query.inputs).outputs(query.inputs)
    assert not torch.allclose(seen, ProtoNet("").adapt(model, params, episode.support).outputs(query.inputs))


def test_ratings_are_refused_with_a_reason():
    assert "a number has no classes" in LaplacianShot("", 1.0, 3, 5).refuses(Regression(-4, 4))


@pytest.mark.parametrize(("key", "value"), [("smoothness", -1), ("neighbours", 0), ("iterations", -1)])
def test_a_setting_that_cannot_be_is_named(key, value):
    with pytest.raises(ValueError, match=rf"learner\.{key} is {value}: it must be .*at least"):
        LaplacianShot("", **{"smoothness": 1.0, "neighbours": 3, "iterations": 5, key: value})


class TestLaplacianShot(Proof):
    learner = LaplacianShot("LaplacianShot", 1.0, 3, 5)
    lacks = {"inductive": COUNTEREXAMPLE}
