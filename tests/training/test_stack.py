"""Tasks as one under torch.vmap: what a loop over them gives. Every learner that says so is proven in tests/learner."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close
from toy import HEADS, VOCABULARY, tiny_episodes, tiny_model, tiny_params

from metalingua.error import UserError
from metalingua.learner.inner import Adam
from metalingua.learner.maml import Maml
from metalingua.model.cnn import CnnEncoder
from metalingua.model.model import Model
from metalingua.model.transformer import TransformerEncoder
from metalingua.text.noise import Noise
from metalingua.training.engine import Engine
from metalingua.training.stack import stacked_answers, stacked_losses, stacks

EPISODES = [tiny_episodes("meta_test")[i] for i in range(8)]  # two and three ways, polarity and rating
MODELS = {
    "cnn": Model(CnnEncoder(VOCABULARY, 5, 3, [2, 3]), HEADS),
    "transformer": Model(TransformerEncoder(VOCABULARY, dim=6, layers=1, heads=2, ffn=8, max_length=16), HEADS),
}
STACKED, LOOPED = Engine(1, "vmap"), Engine(1, "threads")


def maml(order, **how):
    return Maml("MAML", steps=2, step_size=0.3, order=order, **how)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("order", [1, 2])
def test_losses_and_gradients_are_those_of_the_loop(name, order):
    model, learner = MODELS[name], maml(order, inner=Adam(0.9, 0.99, 1e-3))
    params = tiny_params(model)
    found = []
    for engine, episodes in ((LOOPED, EPISODES), (STACKED, EPISODES), (STACKED, EPISODES[1:])):
        loss = engine.loss(model, params, episodes, learner.episode_loss, order, vmaps=True)
        found.append([loss.detach(), *torch.autograd.grad(loss, list(params.values()))])
    assert_close(found[1], found[0], rtol=1e-9, atol=1e-12)
    assert not torch.allclose(found[2][0], found[0][0])


@pytest.mark.parametrize("name", MODELS)
def test_second_order_is_not_first_order(name):
    model = MODELS[name]
    params = tiny_params(model)
    both = [stacked_losses(model, params, EPISODES, maml(order).episode_loss, order).mean() for order in (1, 2)]
    assert_close(*both)
    one, two = (torch.autograd.grad(loss, params[model.rows])[0] for loss in both)
    assert not torch.allclose(one, two, rtol=1e-3)


def test_losses_come_in_the_order_of_the_episodes():
    model, learner = MODELS["cnn"], maml(1)
    params = tiny_params(model)
    losses = stacked_losses(model, params, EPISODES, learner.episode_loss, 1)
    alone = [stacked_losses(model, params, [episode], learner.episode_loss, 1)[0] for episode in EPISODES]
    assert_close(losses, torch.stack(alone))
    assert len(set(losses.tolist())) == 8


def test_a_stack_has_one_problem_and_one_size():
    shorter = replace(EPISODES[0], query=EPISODES[0].support)
    places = [stack.places for stack in stacks([*EPISODES, shorter], torch.device("cpu"))]
    assert places == [[0, 1, 4, 5], [2, 6], [3, 7], [8]]
    named = replace(EPISODES[0], support=replace(EPISODES[0].support, names=EPISODES[0].support.inputs))
    assert [stack.places for stack in stacks([EPISODES[0], named], torch.device("cpu"))] == [[0], [1]]


@pytest.mark.parametrize("name", MODELS)
def test_episodes_with_noise_of_their_own_are_stacks_of_their_own(name):
    def noisy(seed, episode):
        halves = {"support": Noise(2 * seed, 0.5), "query": Noise(2 * seed + 1, 0.5)}
        read = {
            half: replace(getattr(episode, half), inputs=replace(getattr(episode, half).inputs, noise=noise))
            for half, noise in halves.items()
        }
        return replace(episode, **read)

    model, learner = MODELS[name], maml(2)
    params, episodes = tiny_params(model), [noisy(0, EPISODES[0]), noisy(1, EPISODES[1]), noisy(1, EPISODES[4])]
    assert [stack.places for stack in stacks(episodes, torch.device("cpu"))] == [[0], [1, 2]]
    losses = [stacked_losses(model, params, each, learner.episode_loss, 2) for each in (episodes, EPISODES[:2])]
    looped = [
        engine.loss(model, params, episodes, learner.episode_loss, 2, vmaps=True) for engine in (LOOPED, STACKED)
    ]  # fmt: skip
    assert_close(*looped)
    assert_close(losses[0].mean(), looped[0])
    assert not torch.allclose(losses[0][:2], losses[1])


def test_judging_is_that_of_the_loop():
    model, learner = MODELS["cnn"], maml(2)
    params = tiny_params(model)
    for one, other in zip(*(e.judge(learner, model, params, EPISODES) for e in (STACKED, LOOPED)), strict=True):
        assert one.statistics == pytest.approx(other.statistics) and one.moved == other.moved > 0
        assert one.predictions == pytest.approx(other.predictions) and one.adapt_seconds > 0
    unadapted = stacked_answers(maml(2), model, tiny_params(model, seed=1), EPISODES)[0][0]
    assert not torch.allclose(unadapted, stacked_answers(learner, model, params, EPISODES)[0][0])


def test_a_parameter_that_no_episode_needs_gets_a_gradient_of_zero():
    model = MODELS["cnn"]
    params = tiny_params(model)
    STACKED.loss(model, params, EPISODES[:2], maml(2).episode_loss, 2, vmaps=True).backward()
    assert params["head.regression.weight"].grad.eq(0).all() and params["head.classification_2.weight"].grad.ne(0).any()


def test_on_a_cpu_threads_are_the_choice_and_what_cannot_be_stacked_says_so():
    params = tiny_params(tiny_model())
    assert not Engine(1).stacks(params, vmaps=True) and STACKED.stacks(params, vmaps=True)
    elsewhere = {name: value.to("meta") for name, value in params.items()}
    assert Engine(1).stacks(elsewhere, vmaps=True) and not Engine(1).stacks(elsewhere, vmaps=False)
    assert not LOOPED.stacks(elsewhere, vmaps=True)
    with pytest.raises(UserError, match=r"engine\.batching is vmap.*set engine\.batching=auto"):
        STACKED.loss(tiny_model(), params, EPISODES, maml(2).episode_loss, 2, vmaps=False)
    # a baseline that cannot is judged one task at a time, beside those that can
    looped, stacked = (engine.judge(maml(2), tiny_model(), params, EPISODES) for engine in (LOOPED, STACKED))
    assert [each.statistics for each in looped] == [each.statistics for each in stacked]
    with pytest.raises(ValueError, match=r"engine\.batching is both"):
        Engine(1, "both")
