import pytest
import torch
from proof import COUNTEREXAMPLE, Proof
from test_descent import EPISODE as PARABOLA
from test_descent import Line
from torch.autograd import grad
from torch.testing import assert_close
from toy import tiny_episodes, tiny_model, tiny_params

from metalingua.learner.maml import Maml
from metalingua.learner.meta_sgd import MetaSgd, rate
from metalingua.training.engine import Engine, localise

HOW = {"steps": 2, "step_size": 0.4}
EPISODES = [tiny_episodes("meta_test")[i] for i in range(4)]
BOTH_ORDERS = pytest.mark.parametrize("order", [1, 2])


class TestMetaSgd(Proof):
    learner = MetaSgd("Meta-SGD", order=2, **HOW)
    lacks = {"renaming": COUNTEREXAMPLE, "any_ways": COUNTEREXAMPLE}


class TestFirstOrderMetaSgd(Proof):
    learner = MetaSgd("Meta-SGD", order=1, **HOW)
    lacks = {"exact_gradient": COUNTEREXAMPLE, "renaming": COUNTEREXAMPLE, "any_ways": COUNTEREXAMPLE}


def started(model, learner, dtype=torch.float64):
    own = {name: value.to(dtype).requires_grad_() for name, value in learner.init(model, 0).items()}
    return {**tiny_params(model, dtype), **own}


@BOTH_ORDERS
def test_one_step_on_a_parabola_by_hand(order):
    """w' = w - alpha (w - 1); the query loss is (w' + 2)^2 / 2."""
    w, alpha = torch.tensor(3.0, requires_grad=True), torch.tensor(0.25, requires_grad=True)
    learner = MetaSgd("Meta-SGD", steps=1, step_size=9.0, order=order)  # what it starts from counts only in init
    loss = learner.episode_loss(Line(), {"encoder.w": w, rate("encoder.w"): alpha}, PARABOLA)
    assert loss.item() == pytest.approx(0.5 * 4.5**2)
    slopes = [each.item() for each in grad(loss, [w, alpha])]
    assert slopes == pytest.approx([4.5 * (0.75 if order == 2 else 1), 4.5 * -2])


def test_it_begins_as_maml_with_a_step_size_for_each_number():
    model, learner = tiny_model(), MetaSgd("Meta-SGD", order=2, **HOW)
    params = started(model, learner)
    assert {name: value.shape for name, value in params.items() if name.startswith("learner.")} == {
        rate(name): value.shape for name, value in model.init(0).items()
    }
    names = list(model.init(0))
    found = []
    for each in (learner, Maml("MAML", order=2, **HOW)):
        loss = Engine(1).loss(model, params, EPISODES, each.episode_loss, 2)
        found.append([loss, *grad(loss, [params[name] for name in names])])
    assert_close(*found, rtol=1e-5, atol=1e-7)  # 0.4 is a float32's


def test_a_number_steps_by_its_own_size():
    model, learner, episode = tiny_model(), MetaSgd("Meta-SGD", 1, 0.4, order=2), EPISODES[0]
    params = localise(model, {name: value.detach() for name, value in started(model, learner).items()}, episode)
    params = {name: torch.zeros_like(value) if name.startswith("learner.") else value for name, value in params.items()}
    name = "encoder.lstm.weight_ih"
    params[rate(name)] = params[rate(name)].clone()
    params[rate(name)][3, 1] = -0.4  # up the gradient
    up = learner.adapt(model, params, episode.support).params
    moved = {k: (v != params[k]).nonzero().tolist() for k, v in up.items() if not torch.equal(v, params[k])}
    assert moved == {name: [[3, 1]]}
    params[rate(name)][3, 1] = 0.4
    down = learner.adapt(model, params, episode.support).params[name][3, 1]
    assert_close(down + up[name][3, 1], 2 * params[name][3, 1])


def test_the_words_of_an_episode_train_their_own_step_sizes():
    model, learner, episode = tiny_model(), MetaSgd("Meta-SGD", order=2, **HOW), EPISODES[0]
    params = started(model, learner)
    loss = Engine(1).loss(model, params, [episode], learner.episode_loss, 2)
    (slope,) = grad(loss, [params[rate(model.rows)]])
    support = episode.rows[episode.support.inputs.tokens.unique()]
    seen = torch.zeros(len(slope), dtype=torch.bool)
    seen[support[support > 0]] = True
    assert slope[seen].abs().amax(1).gt(0).any() and slope[~seen].eq(0).all()
    assert seen.sum() < len(seen) - 5


@pytest.mark.parametrize(
    ("key", "value", "rule"), [("steps", -1, "at least 0"), ("step_size", 0, "above 0"), ("order", 3, "one of 1, 2")]
)
def test_a_setting_that_cannot_descend_is_named(key, value, rule):
    with pytest.raises(ValueError, match=rf"learner\.{key} is {value}: it must be .*{rule}"):
        MetaSgd("Meta-SGD", **{**HOW, "order": 2, key: value})
