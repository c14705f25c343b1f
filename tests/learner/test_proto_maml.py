import pytest
import torch
from proof import COUNTEREXAMPLE, Proof
from torch.autograd import grad
from torch.testing import assert_close
from toy import tiny_episodes, tiny_model, tiny_params

from metalingua.learner.proto_maml import ProtoMaml, prototypes
from metalingua.problem.classification import Classification
from metalingua.problem.regression import Regression
from metalingua.training.engine import localise

HOW = {"steps": 2, "step_size": 0.4}
EPISODE = tiny_episodes("meta_test")[2]
MODEL = tiny_model()
PARAMS = localise(MODEL, tiny_params(MODEL), EPISODE)


def means():
    """Class by class."""
    features, targets = MODEL.features(PARAMS, EPISODE.support.inputs), EPISODE.support.targets
    return torch.stack([features[targets == c].mean(0) for c in range(3)])


class Made:
    """What differs from other learners' proof: the head is made from the support set before any step."""

    def unadapted(self, model, params, episode):
        with_head = {**params, **prototypes(model.features(params, episode.support.inputs), episode.support)}
        return model.outputs(with_head, episode.query.inputs, episode.query.problem)

    def test_zero_steps(self):
        """As every learner's, but for the head, which is made from the support set before any step."""
        for steps in (0, 2):
            predictor = ProtoMaml("Proto-MAML", steps, 0.4, self.learner.order).adapt(MODEL, PARAMS, EPISODE.support)
            same = torch.allclose(predictor.outputs(EPISODE.query.inputs), self.unadapted(MODEL, PARAMS, EPISODE))
            unmoved = {name for name, value in predictor.params.items() if torch.equal(value, PARAMS[name])}
            body = {name for name in PARAMS if name.startswith("encoder.")}
            assert (same, unmoved) == ((True, body) if steps == 0 else (False, set()))


class TestProtoMaml(Made, Proof):
    learner = ProtoMaml("Proto-MAML", order=2, **HOW)


class TestFirstOrderProtoMaml(Made, Proof):
    learner = ProtoMaml("Proto-MAML", order=1, **HOW)
    lacks = {"exact_gradient": COUNTEREXAMPLE}


def test_without_steps_it_is_a_prototypical_network():
    outputs = ProtoMaml("Proto-MAML", 0, 0.4, order=2).adapt(MODEL, PARAMS, EPISODE.support).outputs
    features = MODEL.features(PARAMS, EPISODE.query.inputs)
    distances = (features.unsqueeze(1) - means()).square().sum(-1)
    assert_close(outputs(EPISODE.query.inputs).softmax(-1), (-distances).softmax(-1))
    assert not torch.allclose(outputs(EPISODE.query.inputs).softmax(-1), (-distances.sqrt()).softmax(-1), atol=1e-3)


@pytest.mark.parametrize("order", [1, 2])
def test_a_step_takes_the_head_for_parameters_of_its_own(order):
    """Not for a function of the encoder, though meta-training descends through the prototypes."""
    support, problem = EPISODE.support, EPISODE.support.problem
    found = ProtoMaml("Proto-MAML", 1, 0.4, order).adapt(MODEL, PARAMS, support).params
    body = [name for name in PARAMS if name.startswith("encoder.")]
    made = {"head.classification_3.weight": 2 * means(), "head.classification_3.bias": -means().square().sum(1)}
    apart = {name: value.detach().requires_grad_() for name, value in made.items()}

    def slopes(head, names):
        there = {**PARAMS, **head}
        loss = problem.loss(MODEL.outputs(there, support.inputs, problem), support.targets)
        return grad(loss, [there[name] for name in names])

    names = [*body, *made]
    for name, value, slope in zip(names, [{**PARAMS, **made}[k] for k in names], slopes(apart, names), strict=True):
        assert_close(found[name], value - 0.4 * slope)
    through = dict(zip(body, slopes(made, body), strict=True))
    name = "encoder.lstm.weight_hh"
    assert not torch.allclose(found[name], PARAMS[name] - 0.4 * through[name], atol=1e-4)
    with torch.no_grad():
        judged = ProtoMaml("Proto-MAML", 1, 0.4, order).adapt(MODEL, PARAMS, support).params
    assert_close(judged, {name: value.detach() for name, value in found.items()})


@pytest.mark.parametrize("order", [1, 2])
def test_meta_training_descends_through_the_prototypes(order):
    """Without a step nothing else depends on how the support texts are read."""
    learner = ProtoMaml("Proto-MAML", 0, 0.4, order)
    loss = learner.episode_loss(MODEL, PARAMS, EPISODE)
    (slope,) = grad(loss, PARAMS[MODEL.rows])
    tokens = EPISODE.support.inputs.tokens.unique()
    only = tokens[~torch.isin(tokens, EPISODE.query.inputs.tokens)]
    assert len(only) and slope[only].abs().amax(1).gt(0).all()


def test_ratings_are_refused_with_a_reason():
    learner = ProtoMaml("Proto-MAML", order=2, **HOW)
    assert "a number has no classes" in learner.refuses(Regression(-4, 4))
    assert learner.refuses(Classification(2)) is None and learner.refuses(Classification(20)) is None


@pytest.mark.parametrize(
    ("key", "value", "rule"), [("steps", -1, "at least 0"), ("step_size", 0, "above 0"), ("order", 3, "one of 1, 2")]
)
def test_a_setting_that_cannot_descend_is_named(key, value, rule):
    with pytest.raises(ValueError, match=rf"learner\.{key} is {value}: it must be .*{rule}"):
        ProtoMaml("Proto-MAML", **{**HOW, "order": 2, key: value})
