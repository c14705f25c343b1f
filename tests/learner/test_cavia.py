"""Two steps of a context by hand, the same as concatenating it, and that nothing else moves."""

from types import SimpleNamespace

import pytest
import torch
from proof import COUNTEREXAMPLE, EPISODES, Proof, gradient_errors, params_of
from torch.autograd import grad
from torch.testing import assert_close
from toy import VOCABULARY, tiny_model, tiny_params

from metalingua.learner.cavia import CONTEXT, WEIGHT, Cavia, conditioned
from metalingua.learner.inner import Momentum
from metalingua.model.lstm import LstmEncoder
from metalingua.training.engine import localise

HOW = {"size": 3, "steps": 2, "step_size": 0.5}


class Line:
    """A model whose output is its one number, theta, as the context shifts it."""

    rows = "theta"

    def outputs(self, params, inputs, problem):
        return params["theta"].sum()


BOWL = SimpleNamespace(loss=lambda w, centre: 0.5 * (w - centre) ** 2)
EPISODE = SimpleNamespace(
    support=SimpleNamespace(problem=BOWL, inputs=None, targets=torch.tensor(1.0)),
    query=SimpleNamespace(problem=BOWL, inputs=None, targets=torch.tensor(-2.0)),
)


@pytest.mark.parametrize("order", [1, 2])
def test_two_steps_by_hand(order):
    """theta + 2 phi on a parabola around 1: phi goes 0, -0.4, -0.64, and the output 3, 2.2, 1.72."""
    params = {"theta": torch.tensor([[3.0]]).requires_grad_(), WEIGHT: torch.tensor([[2.0]]).requires_grad_()}
    learner = Cavia("CAVIA", size=1, steps=2, step_size=0.1, order=order)
    path = [(p.params[CONTEXT].item(), p.outputs(None).item()) for p in learner.path(Line(), params, EPISODE.support)]
    assert [*sum(path, ())] == pytest.approx([0, 3, -0.4, 2.2, -0.64, 1.72])
    loss = learner.episode_loss(Line(), params, EPISODE)
    assert loss.item() == pytest.approx(0.5 * 3.72**2)
    # each step shrinks output - 1 by 1 - 0.1 * 2^2 = 0.6; first order knows only output = theta + w phi
    along_theta, along_w = (0.6**2, 2 * 0.6 * (-2 * 0.1 * 2) * (3 - 1)) if order == 2 else (1, -0.64)
    expected = torch.tensor([[3.72 * along_theta]]), torch.tensor([[3.72 * along_w]])
    assert_close(grad(loss, list(params.values())), expected)


def test_a_context_is_a_further_input_of_every_token():
    """Section "Conditioning on Context Parameters": concatenated to the embedding of each token, it gives the same."""
    episode, model = EPISODES[0], tiny_model()
    params = localise(model, tiny_params(model), episode)
    dice = torch.Generator().manual_seed(2)
    weight, phi = torch.randn(5, 3, generator=dice).double(), torch.randn(3, generator=dice).double()
    features = model.features({**params, **conditioned(model, {**params, WEIGHT: weight}, {CONTEXT: phi})},
                              episode.query.inputs)  # fmt: skip
    rows, first = params[model.rows], params["encoder.lstm.weight_ih"]
    wide = {
        "embedding.weight": torch.cat([rows, phi.expand(len(rows), -1)], 1),
        "lstm.weight_ih": torch.cat([first, first @ weight], 1),
        "lstm.weight_hh": params["encoder.lstm.weight_hh"],
        "lstm.bias": params["encoder.lstm.bias"],
    }
    assert_close(features, LstmEncoder(VOCABULARY, 5 + 3, 4, "mean").features(wide, episode.query.inputs))
    assert not torch.allclose(features, model.features(params, episode.query.inputs), rtol=1e-2)


def test_only_the_context_moves_and_without_it_the_model_answers_as_it_is():
    model, learner = tiny_model(), Cavia("CAVIA", **HOW, order=2)
    for episode in EPISODES:
        params, inputs = localise(model, params_of(model, learner), episode), episode.query.inputs
        start, *_, end = learner.path(model, params, episode.support)
        unadapted = model.outputs(params, inputs, episode.query.problem)
        assert_close(start.outputs(inputs), unadapted)
        assert not torch.allclose(end.outputs(inputs), unadapted)
        assert start.params.keys() == end.params.keys() == {CONTEXT}
        assert (start.params[CONTEXT] == 0).all() and (end.params[CONTEXT] != 0).all()


def test_a_map_that_started_at_zero_would_stay_there():
    model, learner, episode = tiny_model(), Cavia("CAVIA", **HOW, order=2), EPISODES[0]
    params = localise(model, params_of(model, learner), episode)
    for weight, moves in ((params[WEIGHT], True), (torch.zeros_like(params[WEIGHT]), False)):
        weight = weight.clone().requires_grad_()
        loss = learner.episode_loss(model, {**params, WEIGHT: weight}, episode)
        assert bool((grad(loss, weight)[0] != 0).any()) == moves


def test_through_a_head_of_zeros_no_context_would_move():
    model, learner, episode = tiny_model(), Cavia("CAVIA", **HOW, order=2), EPISODES[0]
    fresh = model.init(0) | learner.init(model, 0)
    zero = {name: torch.zeros_like(value) if name.startswith("head.") else value for name, value in fresh.items()}
    for start, moves in ((fresh, True), (zero, False)):
        found = learner.adapt(model, localise(model, start, episode), episode.support).params[CONTEXT]
        assert bool((found != 0).any()) == moves


def test_fresh_maps():
    model, learner = tiny_model(), Cavia("CAVIA", **HOW, order=2)
    weight = learner.init(model, 0)[WEIGHT]
    assert weight.shape == (5, 3) and 0 < weight.abs().max() <= (5 + 3) ** -0.5
    assert torch.equal(weight, learner.init(model, 0)[WEIGHT])
    assert not torch.equal(weight, learner.init(model, 1)[WEIGHT])


def test_the_inner_optimiser_counts_from_the_second_step():
    model, episode = tiny_model(), EPISODES[0]
    plain, heavy = Cavia("CAVIA", **HOW, order=2), Cavia("CAVIA", **HOW, order=2, inner=Momentum(0.9))
    params = localise(model, params_of(model, plain), episode)
    paths = [[p.params[CONTEXT] for p in each.path(model, params, episode.support)] for each in (plain, heavy)]
    assert [torch.equal(a, b) for a, b in zip(*paths, strict=True)] == [True, True, False]


def test_first_order_is_only_an_approximation():
    assert min(gradient_errors(Cavia("CAVIA", **HOW, order=1))) > 1e-3


class TestCavia(Proof):
    learner = Cavia("CAVIA", **HOW, order=2)
    lacks = {
        "renaming": COUNTEREXAMPLE,
        "any_ways": COUNTEREXAMPLE,
        "zero_steps": "no step moves a parameter: test_only_the_context_moves says what none and some give",
    }
