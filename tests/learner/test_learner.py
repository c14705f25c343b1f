import pytest
import torch
from toy import tiny_episodes, tiny_model, tiny_params

from metalingua.learner.learner import Learner, Predictor
from metalingua.problem.regression import Regression
from metalingua.text.batch import Inputs
from metalingua.training.engine import Engine

EPISODE = tiny_episodes("meta_test")[0]


class Spy(Learner):
    def __init__(self, transductive):
        self.transductive = transductive
        self.handed = []

    def adapt(self, model, params, support, query_inputs=None):
        self.handed.append(query_inputs)
        return Predictor.of(model, params, support.problem)


@pytest.mark.parametrize("transductive", [False, True])
def test_query_inputs_reach_only_transductive_learners(transductive):
    model, spy = tiny_model(), Spy(transductive)
    params = tiny_params(model)
    Engine(1).judge(spy, model, params, [EPISODE])
    Engine(1).loss(model, params, [EPISODE], spy.episode_loss, 1)
    assert len(spy.handed) == 2
    for handed in spy.handed:
        assert isinstance(handed, Inputs) == transductive and (handed is None) == (not transductive)
        assert not hasattr(handed, "targets")


def test_meta_training_descends_the_query_loss_after_adapting():
    model, query = tiny_model(), EPISODE.query
    params = {name: value.detach() for name, value in tiny_params(model).items()}
    expected = query.problem.loss(model.outputs(params, query.inputs, query.problem), query.targets)
    support = EPISODE.support
    other = query.problem.loss(model.outputs(params, support.inputs, support.problem), support.targets)
    found = Spy(False).episode_loss(model, params, EPISODE)
    assert torch.equal(found, expected) and not torch.allclose(found, other)


def test_what_a_learner_says_of_itself_unless_it_says_otherwise():
    learner = Learner()
    assert learner.refuses(Regression(1, 5)) is None
    assert learner.init(tiny_model(), 0) == {}
    assert list(learner.path(tiny_model(), {}, EPISODE.support)) == []
    with pytest.raises(NotImplementedError):
        learner.adapt(tiny_model(), {}, EPISODE.support)
