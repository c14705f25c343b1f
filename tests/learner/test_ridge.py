import numpy as np
import pytest
import torch
from given import given
from proof import EPISODES, Proof, engine_loss, params_of
from toy import tiny_model

from metalingua.learner.ridge import Ridge
from metalingua.problem.regression import Regression
from metalingua.training.engine import Engine, localise

LEARNER = Ridge("ridge head", penalty=0.1, scale=1.0)
DICE = np.random.default_rng(0)
RATING = EPISODES[3]


class TestRidge(Proof):  # EPISODES hold a regression, and Ridge refuses none: all of this is proven for it too
    learner = LEARNER


def own(model, dtype=torch.float64, **moved):
    fresh = {name: value.to(dtype) for name, value in LEARNER.init(model, 0).items()}
    return fresh | {f"learner.ridge.{k.replace('__', '.')}": torch.tensor(v, dtype=dtype) for k, v in moved.items()}


@pytest.mark.parametrize(("targets", "problem", "kind"), [
    ([0, 0, 1, 2, 1], None, "classes"), ([-0.5, 0.3, 1.0, -1.0, 0.2], Regression(-4, 4), "number"),
])  # fmt: skip
def test_the_answers_are_the_normal_equations_(targets, problem, kind):
    x, queries = DICE.normal(size=(5, 3)), DICE.normal(size=(4, 3))
    model, params, support, query = given(x, targets, queries, problem)
    y = np.eye(3)[targets] if problem is None else np.array(targets)[:, None]
    x, queries = (np.hstack([each, np.ones((len(each), 1))]) for each in (x, queries))  # the intercept is penalised too
    expected = queries @ np.linalg.solve(x.T @ x + 0.1 * np.eye(4), x.T @ y)
    found = LEARNER.adapt(model, params | own(model), support).outputs(query)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    settings = {f"{kind}__log_scale": 0.7, f"{kind}__bias": 0.2}
    moved = LEARNER.adapt(model, params | own(model, **settings), support).outputs(query)
    np.testing.assert_allclose(moved, np.exp(0.7) * expected + 0.2, rtol=1e-6)
    stiff = LEARNER.adapt(model, params | own(model, **{f"{kind}__log_penalty": 5.0}), support).outputs(query)
    assert np.abs(stiff.numpy()).max() < 0.5 * np.abs(expected).max()


def test_what_is_learned_for_classes_does_not_move_numbers():
    model = tiny_model()
    params = params_of(model, LEARNER)

    def outputs(episode, kind):
        there = {name: value + (kind in name) for name, value in params.items()}
        return LEARNER.adapt(model, localise(model, there, episode), episode.support).outputs(episode.query.inputs)

    for episode, mine, others in ((EPISODES[0], ".classes.", ".number."), (RATING, ".number.", ".classes.")):
        assert torch.equal(outputs(episode, others), outputs(episode, "nothing"))
        assert not torch.allclose(outputs(episode, mine), outputs(episode, "nothing"), rtol=1e-2)


def test_one_episode_of_ratings_can_be_overfitted():
    model = tiny_model()
    params = params_of(model, LEARNER, torch.float32, heads=0, grad=True, noise=0)
    optimizer = torch.optim.Adam(list(params.values()), 0.1)

    def score():
        return Engine(1).judge(LEARNER, model, params, [RATING])[0].statistics["score"]  # R^2

    before = score()
    for _ in range(80):
        optimizer.zero_grad()
        engine_loss(LEARNER, model, params, [RATING]).backward()
        optimizer.step()
    assert before < 0.9 < 0.95 < score()


@pytest.mark.parametrize(("key", "value"), [("penalty", 0), ("scale", -1.0)])
def test_a_setting_that_cannot_work_is_named(key, value):
    with pytest.raises(ValueError, match=rf"learner\.{key} is {value}: it must be .*above 0"):
        Ridge("ridge head", **{"penalty": 0.1, "scale": 1.0, key: value})
