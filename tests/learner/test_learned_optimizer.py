"""The gated rule on one number by hand, its meta-gradient with slopes held constant, and gradient descent as a case."""

import math
from types import SimpleNamespace

import pytest
import torch
from proof import COUNTEREXAMPLE, EPISODES, Proof, params_of
from torch.autograd import grad
from torch.testing import assert_close
from toy import tiny_model

from metalingua.learner.learned_optimizer import BIAS, WEIGHT, LearnedOptimizer, gates, preprocessed
from metalingua.learner.maml import Maml
from metalingua.training.engine import localise

HOW = {"steps": 2, "forget": 0.99, "step_size": 0.3}


class Line:
    """A model whose output is its one parameter."""

    rows = ""

    def names(self, params, problem):
        return ["w"]

    def outputs(self, params, inputs, problem):
        return params["w"]


BOWL = SimpleNamespace(loss=lambda w, centre: 0.5 * (w - centre) ** 2)
EPISODE = SimpleNamespace(
    support=SimpleNamespace(problem=BOWL, inputs=None, targets=torch.tensor(1.0).double()),
    query=SimpleNamespace(problem=BOWL, inputs=None, targets=torch.tensor(-2.0).double()),
)


def rule():
    """Gates that read everything: [w, W, b] as leaves."""
    weight = torch.randn(2, 6, generator=torch.Generator().manual_seed(0)).double() * 0.5
    given = {"w": torch.tensor(3.0).double(), WEIGHT: weight, BIAS: torch.tensor([2.0, -1.0]).double()}
    return {name: value.requires_grad_() for name, value in given.items()}


def test_two_steps_by_hand():
    params = rule()
    weight, bias = params[WEIGHT].tolist(), params[BIAS].tolist()
    c, before, expected = 3.0, [0.0, 0.0], [3.0]
    for _ in range(2):
        slope, loss = c - 1, 0.5 * (c - 1) ** 2
        read = [math.log(abs(slope)) / 10, math.copysign(1, slope), c, math.log(loss) / 10, 1.0]
        z = [
            sum(w * x for w, x in zip(weight[gate], [*read, before[gate]], strict=True)) + bias[gate] for gate in (0, 1)
        ]
        before = [1 / (1 + math.exp(-each)) for each in z]
        c = before[0] * c - before[1] * slope
        expected.append(c)
    path = LearnedOptimizer("LSTM", **HOW).path(Line(), params, EPISODE.support)
    assert [each.outputs(None).item() for each in path] == pytest.approx(expected, rel=1e-12)
    assert abs(expected[2] - expected[1]) > 0.01 < abs(expected[1] - expected[0])


def test_slopes_and_losses_are_constants_to_the_meta_gradient_and_all_else_is_not():
    """Section 3.3: the same recursion with the slopes and losses as plain numbers has the same derivative."""
    params = rule()
    loss = LearnedOptimizer("LSTM", **HOW).episode_loss(Line(), params, EPISODE)
    found = grad(loss, list(params.values()))

    def recursion(read):
        c, before = params["w"], torch.zeros(2).double()
        for _ in range(2):
            slope, at = (read(each) for each in (c - 1, 0.5 * (c - 1) ** 2))
            numbers = torch.stack([slope.abs().log() / 10, slope.sign(), c, at.log() / 10, at.sign()])
            before = (params[WEIGHT][:, :5] @ numbers + before * params[WEIGHT][:, 5] + params[BIAS]).sigmoid()
            c = before[0] * c - before[1] * slope
        return grad(0.5 * (c + 2) ** 2, list(params.values()))

    assert_close(found, recursion(torch.Tensor.detach))
    through = recursion(lambda x: x)
    assert all(not torch.allclose(a, b, rtol=1e-3) for a, b in zip(found, through, strict=True))


def test_what_the_gates_read_is_of_any_magnitude():
    x = torch.tensor([1.0, -math.exp(5), math.exp(-20), -math.exp(-20), 0.0]).double()
    expected = [[0, 1], [0.5, -1], [-1, math.exp(-10)], [-1, -math.exp(-10)], [-1, 0]]
    assert_close(preprocessed(x).t(), torch.tensor(expected).double())


def test_every_number_has_the_same_gates():
    dice, params = torch.Generator().manual_seed(1), rule()
    grads, value = (torch.randn(3, 4, generator=dice).double() for _ in range(2))
    loss, before = torch.tensor(0.7).double(), torch.rand(2, 3, 4, generator=dice).double()
    for remembered in (None, before):
        found = gates(params, grads, loss, value, remembered)
        assert found.shape == (2, 3, 4) and len(found.flatten().unique()) == 24
        for place in ((0, 0), (2, 3)):
            own = None if remembered is None else before[:, *place]
            assert_close(found[:, *place], gates(params, grads[place], loss, value[place], own))


@pytest.mark.parametrize(("forget", "same"), [(1 - 1e-6, True), (0.9, False)])
def test_fresh_gates_that_forget_nothing_are_gradient_descent(forget, same):
    model, learner = tiny_model(), LearnedOptimizer("LSTM", steps=2, forget=forget, step_size=0.3)
    for episode in EPISODES:
        params = localise(model, params_of(model, learner, noise=0), episode)
        support, inputs = episode.support, episode.query.inputs
        descended = Maml("MAML", steps=2, step_size=0.3, order=1).adapt(model, params, support).outputs(inputs)
        found = learner.adapt(model, params, support).outputs(inputs)
        assert torch.allclose(found, descended, rtol=1e-4, atol=1e-4) == same


class TestLearnedOptimizer(Proof):
    learner = LearnedOptimizer("LSTM", **HOW)
    lacks = {"renaming": COUNTEREXAMPLE, "any_ways": COUNTEREXAMPLE, "exact_gradient": COUNTEREXAMPLE}
