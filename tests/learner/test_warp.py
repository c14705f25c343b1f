"""Layers between layers: what they compute, how they bend a step, and that no step moves them."""

import pytest
import torch
from proof import COUNTEREXAMPLE, EPISODES, Proof, gradient_errors, params_of
from torch.autograd import grad
from torch.nn.functional import linear
from torch.testing import assert_close
from toy import tiny_model

from metalingua.learner.descent import support_loss
from metalingua.learner.inner import Momentum
from metalingua.learner.maml import Maml
from metalingua.learner.warp import EMBEDDING, FEATURES, Warp, warped
from metalingua.training.engine import localise

HOW = {"steps": 2, "step_size": 0.4}


def warp(order=2, **how):
    return Warp("warp", order=order, **{**HOW, **how})


def world(episode, noise=0.5):
    """A model and its localised parameters, the warp layers `noise` away from identities."""
    model = tiny_model()
    return model, localise(model, params_of(model, warp(), noise=noise), episode)


@pytest.mark.parametrize("episode", EPISODES)
def test_the_layers_stand_after_the_embedding_and_before_the_head(episode):
    model, params = world(episode)
    inputs, problem = episode.query.inputs, episode.query.problem
    features = model.features({**params, model.rows: params[model.rows] @ params[EMBEDDING]}, inputs)
    head = params[f"head.{problem.name}.weight"], params[f"head.{problem.name}.bias"]
    found = warp(steps=0).adapt(model, params, episode.support).outputs(inputs)
    assert_close(found, linear(features @ params[FEATURES], *head))
    assert not torch.allclose(found, linear(features, *head), rtol=1e-2)


@pytest.mark.parametrize("episode", EPISODES)
def test_a_step_is_bent_by_the_layer_it_passes(episode):
    """Of the layer's result A = rows T one step is -step_size A' T^T T, A' being the slope along A (Lee & Choi 2018,
    section 3: a metric of the activations). So for the head, with T^T on the other side."""
    model, params = world(episode)
    problem = episode.support.problem
    start, end = ({k: v.detach() for k, v in warped(model, params, predictor.params, problem).items()}
                  for predictor in warp(steps=1).path(model, params, episode.support))  # fmt: skip
    head = f"head.{problem.name}.weight"
    leaves = {name: start[name].requires_grad_() for name in (model.rows, head)}
    slopes = grad(support_loss(model, start, episode.support)(leaves), list(leaves.values()))
    for name, slope, layer in zip(leaves, slopes, (params[EMBEDDING], params[FEATURES].t()), strict=True):
        bent = -0.4 * slope @ layer.t() @ layer
        assert_close(end[name] - start[name], bent)
        assert not torch.allclose(end[name] - start[name], -0.4 * slope, rtol=1e-2, atol=1e-4)


def test_the_inner_loop_moves_all_but_the_layers():
    for episode in EPISODES:
        model, params = world(episode)
        *_, end = warp().path(model, params, episode.support)
        assert set(end.params) == set(model.names(params, episode.support.problem))
        assert all((end.params[name] != params[name]).any() for name in end.params)


@pytest.mark.parametrize("order", [1, 2])
def test_it_begins_as_maml(order):
    for episode in EPISODES:
        model, params = world(episode, noise=0)
        assert torch.equal(params[EMBEDDING], torch.eye(5).double())
        inputs = episode.query.inputs
        expected = Maml("MAML", **HOW, order=order).adapt(model, params, episode.support).outputs(inputs)
        assert_close(warp(order).adapt(model, params, episode.support).outputs(inputs), expected)
        model, params = world(episode)
        assert not torch.allclose(
            warp(order).adapt(model, params, episode.support).outputs(inputs), expected, rtol=0.01
        )


def test_the_inner_optimiser_counts_from_the_second_step():
    model, params = world(EPISODES[0])
    paths = [[p.params[model.rows] for p in warp(inner=inner).path(model, params, EPISODES[0].support)]
             for inner in (Momentum(0.0), Momentum(0.9))]  # fmt: skip
    assert [torch.equal(a, b) for a, b in zip(*paths, strict=True)] == [True, True, False]


def test_first_order_is_only_an_approximation():
    assert min(gradient_errors(warp(order=1))) > 1e-3


class TestWarp(Proof):
    learner = warp()
    lacks = {"renaming": COUNTEREXAMPLE, "any_ways": COUNTEREXAMPLE}

    def unadapted(self, model, params, episode):
        """Before any step it answers through its layers."""
        problem = episode.query.problem
        start = {name: params[name] for name in model.names(params, problem)}
        return model.outputs(warped(model, params, start, problem), episode.query.inputs, problem)
