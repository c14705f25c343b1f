from types import SimpleNamespace

import pytest
import torch
from proof import COUNTEREXAMPLE, Proof
from test_descent import EPISODE as PARABOLA
from test_descent import Line
from torch.autograd import grad
from torch.testing import assert_close
from toy import tiny_episodes, tiny_model, tiny_params

from metalingua.learner.maml import Maml
from metalingua.learner.reptile import Reptile
from metalingua.training.engine import localise

HOW = {"steps": 3, "step_size": 0.4}
EPISODES = [tiny_episodes("meta_test")[i] for i in range(4)]
BOTH_EXAMPLES = pytest.mark.parametrize("examples", ["support", "all"])


class TestReptile(Proof):
    learner = Reptile("Reptile", examples="all", **HOW)
    lacks = {"exact_gradient": COUNTEREXAMPLE, "renaming": COUNTEREXAMPLE, "any_ways": COUNTEREXAMPLE}


def test_two_steps_on_a_parabola_by_hand():
    w = torch.tensor(3.0, requires_grad=True)
    learner = Reptile("Reptile", steps=2, step_size=0.1, examples="support")
    loss = learner.episode_loss(Line(), {"encoder.w": w}, PARABOLA)  # 3 -> 2.8 -> 2.62
    assert loss.item() == pytest.approx(0.5 * 0.38**2)
    assert grad(loss, w)[0].item() == pytest.approx(0.38)
    assert learner.adapt(Line(), {"encoder.w": w}, PARABOLA.support).outputs(None).item() == pytest.approx(2.62)


@BOTH_EXAMPLES
@pytest.mark.parametrize("episode", EPISODES, ids=lambda each: each.task)
def test_the_meta_gradient_is_where_it_was_minus_where_torchs_sgd_ends(examples, episode):
    model = tiny_model()
    params = localise(model, {k: v.detach() for k, v in tiny_params(model).items()}, episode)
    leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
    loss = Reptile("Reptile", examples=examples, **HOW).episode_loss(model, leaves, episode)
    names = model.names(params, episode.support.problem)
    found = dict(zip(names, grad(loss, [leaves[name] for name in names]), strict=True))

    moving = {name: value.clone().requires_grad_() for name, value in params.items()}
    optimizer = torch.optim.SGD([moving[name] for name in names], HOW["step_size"])
    halves = [episode.support, episode.query][: 1 if examples == "support" else 2]
    for _ in range(HOW["steps"]):
        optimizer.zero_grad()
        outputs = torch.cat([model.outputs(moving, half.inputs, half.problem) for half in halves])
        episode.support.problem.loss(outputs, torch.cat([half.targets for half in halves])).backward()
        optimizer.step()
    assert_close(found, {name: (params[name] - moving[name]).detach() for name in names})
    assert all(value.abs().max() > 0 for value in found.values())


def test_it_is_not_the_slope_of_a_query_loss():
    model = tiny_model()
    params = localise(model, tiny_params(model), EPISODES[0])
    moving = [params[name] for name in model.names(params, EPISODES[0].support.problem)]

    def slope(learner):
        return torch.cat([each.flatten() for each in grad(learner.episode_loss(model, params, EPISODES[0]), moving)])

    ours = slope(Reptile("Reptile", examples="support", **HOW))
    theirs = slope(Maml("MAML", order=1, **HOW))
    assert torch.cosine_similarity(ours, theirs, dim=0) < 0.9


@BOTH_EXAMPLES
def test_meta_training_reads_what_it_descends_on_and_nothing_else(examples, monkeypatch):
    model, episode = tiny_model(), EPISODES[0]
    params = localise(model, tiny_params(model), episode)
    read, features = [], model.features

    def watched(p, inputs):
        read.append((len(inputs), any(value.requires_grad and not value.is_leaf for value in p.values())))
        return features(p, inputs)

    monkeypatch.setattr(model, "features", watched)
    Reptile("Reptile", examples=examples, **HOW).episode_loss(model, params, episode)
    texts = len(episode.support.inputs) + (len(episode.query.inputs) if examples == "all" else 0)
    assert read == [(texts, False)] * HOW["steps"]  # and no step hangs on the one before


def test_adapting_reads_the_support_set_alone():
    model = tiny_model()
    params = localise(model, tiny_params(model), EPISODES[0])
    adapted = [
        Reptile("Reptile", examples=examples, **HOW).adapt(model, params, EPISODES[0].support).params
        for examples in ("support", "all")
    ]
    assert_close(*adapted)


def test_other_parts_of_an_episode_are_never_answered():
    unread = SimpleNamespace(index=0, support=PARABOLA.support)  # no query
    w = torch.tensor(3.0, requires_grad=True)
    Reptile("Reptile", 1, 0.1, "support").episode_loss(Line(), {"encoder.w": w}, unread)
    with pytest.raises(AttributeError, match="query"):
        Reptile("Reptile", 1, 0.1, "all").episode_loss(Line(), {"encoder.w": w}, unread)


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [("steps", -1, "at least 0"), ("step_size", 0, "above 0"), ("examples", "query", "one of support, all")],
)
def test_a_setting_that_cannot_descend_is_named(key, value, rule):
    with pytest.raises(ValueError, match=rf"learner\.{key} is {value}: it must be .*{rule}"):
        Reptile("Reptile", **{**HOW, "examples": "all", key: value})
