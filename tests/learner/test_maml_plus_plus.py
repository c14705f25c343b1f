from dataclasses import replace
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
from metalingua.learner.maml_plus_plus import MamlPlusPlus, rates
from metalingua.training.engine import Engine, localise

HOW = {"steps": 2, "step_size": 0.4, "multi_step_tasks": 100}
EPISODES = [tiny_episodes("meta_test")[i] for i in range(4)]


def made(**how):
    return MamlPlusPlus("MAML++", **{**HOW, "order": 2, "first_order_tasks": 0, **how})


class TestMamlPlusPlus(Proof):
    learner = made()
    lacks = {"renaming": COUNTEREXAMPLE, "any_ways": COUNTEREXAMPLE}


class TestFirstOrderMamlPlusPlus(Proof):
    learner = made(order=1)
    lacks = {"exact_gradient": COUNTEREXAMPLE, "renaming": COUNTEREXAMPLE, "any_ways": COUNTEREXAMPLE}


def test_each_step_has_its_size_and_the_last_one_goes_on():
    params = {"encoder.w": torch.tensor(3.0), rates("encoder.w"): torch.tensor([0.1, 0.5])}
    path = [each.outputs(None).item() for each in made(steps=4).path(Line(), params, PARABOLA.support)]
    assert path == pytest.approx([3, 2.8, 1.9, 1.45, 1.225])  # halfway to 1 from the second step on
    assert not made(steps=4).init(tiny_model(), 0)[rates("encoder.lstm.bias")].sub(0.4).any()


def test_the_loss_of_many_steps_and_its_slopes_by_hand():
    """w1 = w - a (w - 1), w2 = w1 - b (w1 - 1); at first both query losses count one half."""
    w, sizes = torch.tensor(3.0, requires_grad=True), torch.tensor([0.1, 0.5], requires_grad=True)
    loss = made().episode_loss(Line(), {"encoder.w": w, rates("encoder.w"): sizes}, PARABOLA)
    first, second = 2.8 + 2, 1.9 + 2  # slopes of the query losses
    assert loss.item() == pytest.approx((0.5 * first**2 + 0.5 * second**2) / 2)
    slopes = torch.cat([each.reshape(-1) for each in grad(loss, [w, sizes])])
    by_hand = [0.9 * first + 0.45 * second, -2 * first - 2 * 0.5 * second, -1.8 * second]
    assert_close(slopes, torch.tensor(by_hand) / 2)


def test_the_weights_move_to_the_last_step():
    learner = made(steps=4)
    assert learner.weights(0) == [0, 0.25, 0.25, 0.25, 0.25]
    assert learner.weights(50) == pytest.approx([0, 0.125, 0.125, 0.125, 0.625])
    assert learner.weights(100) == learner.weights(10**6) == [0, 0, 0, 0, 1]
    assert made(steps=4, multi_step_tasks=0).weights(0) == [0, 0, 0, 0, 1]
    assert made(steps=0).weights(0) == [1]
    assert made(steps=1).weights(0) == [0, 1]


def test_when_only_the_last_step_counts_no_other_is_answered():
    def asked(index):
        query = SimpleNamespace(problem=PARABOLA.query.problem, targets=PARABOLA.query.targets)
        calls = []
        query.problem = SimpleNamespace(loss=lambda out, to: calls.append(1) or PARABOLA.query.problem.loss(out, to))
        episode = SimpleNamespace(index=index, support=PARABOLA.support, query=query)
        query.inputs = None
        w, sizes = torch.tensor(3.0, requires_grad=True), torch.tensor([0.1, 0.5])
        made().episode_loss(Line(), {"encoder.w": w, rates("encoder.w"): sizes}, episode)
        return len(calls)

    assert [asked(0), asked(99), asked(100)] == [2, 2, 1]


def test_after_the_annealing_it_is_maml_until_its_step_sizes_move():
    model, learner = tiny_model(), made()
    params = {**tiny_params(model), **{k: v.double().requires_grad_() for k, v in learner.init(model, 0).items()}}
    late = [replace(episode, index=100) for episode in EPISODES]
    losses = [Engine(1).loss(model, params, late, each.episode_loss, 2) for each in (learner, Maml("MAML", 2, 0.4, 2))]
    assert_close(*losses, rtol=1e-6, atol=1e-7)
    slopes = [grad(loss, [params[name] for name in model.init(0)]) for loss in losses]
    assert_close(*slopes, rtol=1e-5, atol=1e-7)
    early = Engine(1).loss(model, params, EPISODES, learner.episode_loss, 2)
    assert not torch.allclose(early, losses[0], rtol=1e-4)


def test_the_order_rises_after_so_many_tasks():
    model, learner = tiny_model(), made(first_order_tasks=10)
    params = {**tiny_params(model), **{k: v.double() for k, v in learner.init(model, 0).items()}}
    local = localise(model, params, EPISODES[0])

    def slope(learner, index):
        loss = learner.episode_loss(model, local, replace(EPISODES[0], index=index))
        return grad(loss, local["encoder.lstm.weight_hh"])[0]

    for index in (9, 10):
        assert torch.equal(slope(learner, index), slope(made(order=1 if index == 9 else 2), index))
    assert not torch.allclose(slope(learner, 9), slope(made(order=2), 9), rtol=1e-3)


def test_step_sizes_are_one_a_step_and_no_token_ids():
    model, learner = tiny_model(), made(steps=3)
    own = learner.init(model, 0)
    assert {value.shape for value in own.values()} == {(3,)} and len(own) == len(model.init(0))
    assert not any(name.endswith(model.rows) for name in own)
    local = localise(model, {**tiny_params(model), **own}, EPISODES[0])
    assert all(local[name].shape == (3,) for name in own)


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [("steps", -1, "at least 0"), ("step_size", 0, "above 0"), ("order", 3, "one of 1, 2"),
     ("multi_step_tasks", -1, "at least 0"), ("first_order_tasks", 0.5, "a whole number")],
)  # fmt: skip
def test_a_setting_that_cannot_descend_is_named(key, value, rule):
    with pytest.raises(ValueError, match=rf"learner\.{key} is {value}: it must be .*{rule}"):
        made(**{key: value})
