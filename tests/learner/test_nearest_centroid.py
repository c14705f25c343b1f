import pytest
import torch
from given import given
from proof import COUNTEREXAMPLE, EPISODES, Proof
from torch.testing import assert_close
from toy import tiny_model, tiny_params

from metalingua.learner.nearest_centroid import NearestCentroid
from metalingua.problem.regression import Regression
from metalingua.training.engine import localise

SUPPORT, TARGETS = [[1.0, 0.0], [3.0, 0.0], [0.0, 8.0], [0.0, 12.0]], [0, 0, 1, 1]
QUERY = [[0.5, 1.0]]  # nearer to (2, 0) than to (0, 10), but its direction is (0, 1)'s


def answers(distance):
    model, params, support, inputs = given(SUPPORT, TARGETS, QUERY)
    return NearestCentroid("", "trained", distance).adapt(model, params, support, inputs).outputs(inputs)


def test_both_distances_by_hand():
    assert_close(answers("euclidean"), -torch.tensor([[1.5**2 + 1, 0.5**2 + 81]], dtype=torch.float64))
    assert_close(answers("cosine"), torch.tensor([[0.5, 1.0]], dtype=torch.float64) / 1.25**0.5)
    assert answers("euclidean").argmax() == 0 and answers("cosine").argmax() == 1


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_with_one_shot_a_support_text_is_of_its_class(distance):
    model, episode = tiny_model(), EPISODES[2]
    params = localise(model, tiny_params(model), episode)
    first = torch.tensor([0, 3, 6])  # one text a class
    support = episode.support
    inputs = type(support.inputs)(
        support.inputs.tokens[first], support.inputs.lengths[first], tuple(support.inputs.texts[i] for i in first)
    )
    for targets in (torch.tensor([0, 1, 2]), torch.tensor([2, 0, 1])):  # other labels, other answers: it reads them
        given = type(support)(support.problem, inputs, targets, targets.numpy())
        outputs = NearestCentroid("", "trained", distance).adapt(model, params, given).outputs(inputs)
        assert torch.equal(outputs.argmax(-1), targets)


def test_ratings_are_refused_with_a_reason():
    assert "no classes" in NearestCentroid("", "trained", "cosine").refuses(Regression(-4, 4))


def test_a_distance_that_it_has_not_is_named():
    with pytest.raises(ValueError, match=r"learner\.distance is manhattan: it must be one of euclidean, cosine"):
        NearestCentroid("", "trained", "manhattan")


class TestEuclidean(Proof):
    learner = NearestCentroid("nearest centroid", "trained", "euclidean")
    lacks = {"overfits": COUNTEREXAMPLE}  # features that nobody trained do not part all support texts


class TestCosine(Proof):
    learner = NearestCentroid("nearest centroid", "trained", "cosine")
    lacks = {"overfits": COUNTEREXAMPLE}
