"""The implicit meta-gradient: by hand, against an explicit solve, and against the inner problem solved to the end."""

from types import SimpleNamespace

import pytest
import torch
from proof import COUNTEREXAMPLE, EPISODES, Proof, gradient_errors, params_of
from torch.autograd import grad
from torch.testing import assert_close
from toy import tiny_model

from metalingua.learner.descent import support_loss
from metalingua.learner.imaml import Imaml, conjugate_gradient
from metalingua.learner.inner import Momentum
from metalingua.model.derivative import derivatives
from metalingua.training.engine import localise

SOLVED = {"penalty": 30.0, "steps": 8, "step_size": 1 / 30, "cg_steps": 4}  # penalty so large that both end quickly


def imaml(**how):
    return Imaml("iMAML", **{**SOLVED, **how})


class Line:
    """A model whose output is its one parameter."""

    rows = ""

    def names(self, params, problem):
        return ["w"]

    def outputs(self, params, inputs, problem):
        return params["w"]


BOWL = SimpleNamespace(loss=lambda w, centre: 0.5 * (w - centre) ** 2)
EPISODE = SimpleNamespace(
    support=SimpleNamespace(problem=BOWL, inputs=None, targets=torch.tensor(1.0)),
    query=SimpleNamespace(problem=BOWL, inputs=None, targets=torch.tensor(-2.0)),
)


@pytest.mark.parametrize(("cg_steps", "shrunk"), [(0, 1), (1, 1 / (1 + 1 / 3)), (5, 1 / (1 + 1 / 3))])
def test_on_a_parabola_by_hand(cg_steps, shrunk):
    """0.5 (w - 1)^2 + 1.5 (w - 3)^2 has its minimum at 2.5, one step of 1/4 from 3; the Hessian is 1."""
    w = torch.tensor(3.0, requires_grad=True)
    learner = imaml(penalty=3.0, steps=1, step_size=0.25, cg_steps=cg_steps)
    assert learner.adapt(Line(), {"w": w}, EPISODE.support).outputs(None).item() == pytest.approx(2.5)
    loss = learner.episode_loss(Line(), {"w": w}, EPISODE)
    assert loss.item() == pytest.approx(0.5 * 4.5**2)
    assert grad(loss, w)[0].item() == pytest.approx(4.5 * shrunk)


def slopes_of(learner, model, params, episode):
    """The meta-gradient of what moves, as one vector."""
    names = model.names(params, episode.query.problem)
    leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
    with derivatives(2):
        found = grad(learner.episode_loss(model, leaves, episode), [leaves[name] for name in names])
    return torch.cat([each.flatten() for each in found])


@pytest.mark.parametrize("episode", [EPISODES[0], EPISODES[3]], ids=["classes", "ratings"])
def test_it_is_the_explicit_solve(episode):
    """(I + H/lambda)^-1 g with the whole Hessian written out, at a phi that is far from the minimum."""
    model = tiny_model(embedding=2, hidden=2)
    params = localise(model, params_of(model, imaml()), episode)
    how = {"penalty": 2.0, "steps": 3, "step_size": 0.1}
    phi = imaml(**how).adapt(model, params, episode.support).params
    names, shapes = list(phi), [value.shape for value in phi.values()]

    def named(vector):
        parts = vector.split([shape.numel() for shape in shapes])
        return {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}

    def query_loss(vector):
        query = episode.query
        return query.problem.loss(model.outputs(named(vector), query.inputs, query.problem), query.targets)

    at = torch.cat([value.flatten() for value in phi.values()])
    with derivatives(2):
        loss = support_loss(model, {}, episode.support)
        hessian = torch.autograd.functional.hessian(lambda vector: loss(named(vector)), at)
    slope = torch.autograd.functional.jacobian(query_loss, at)
    expected = torch.linalg.solve(torch.eye(len(at)).double() + hessian / 2.0, slope)
    found = [slopes_of(imaml(**how, cg_steps=n), model, params, episode) for n in (0, 2, 30)]
    away = [float((each - expected).norm() / expected.norm()) for each in found]
    assert away[0] > 1e-2 and away[1] < away[0] / 4 and away[2] < 1e-10
    assert_close(found[0], slope)  # no step of conjugate gradient: the slope of first order


def test_of_the_solved_inner_problem_it_is_the_exact_slope_and_only_then():
    """Finite differences of the query loss, the inner problem solved anew for each."""
    assert max(gradient_errors(imaml())) < 1e-7
    assert min(gradient_errors(imaml(cg_steps=0))) > 1e-3
    assert min(gradient_errors(imaml(steps=1, step_size=0.01))) > 1e-3


def test_only_where_the_path_ends_matters():
    model, episode = tiny_model(), EPISODES[0]
    params = localise(model, params_of(model, imaml()), episode)
    long = {"steps": 50, "step_size": 0.02}
    ends = [
        [learner.adapt(model, params, episode.support).params[model.rows], slopes_of(learner, model, params, episode)]
        for learner in (imaml(**long), imaml(**long, inner=Momentum(0.5)), imaml(steps=2, step_size=0.005))
    ]
    assert_close(ends[0], ends[1])
    assert not torch.allclose(ends[0][1], ends[2][1], rtol=1e-3)


def test_a_larger_penalty_stays_nearer():
    model, episode = tiny_model(), EPISODES[0]
    params = localise(model, params_of(model, imaml()), episode)

    def away(penalty):
        phi = imaml(penalty=penalty, steps=60, step_size=0.03).adapt(model, params, episode.support).params
        return float(torch.stack([(phi[name] - params[name]).square().sum() for name in phi]).sum().sqrt())

    assert 0 < away(30.0) < away(10.0) / 2


def test_no_step_leaves_a_graph_behind():
    model, episode = tiny_model(), EPISODES[0]
    params = localise(model, params_of(model, imaml(), grad=True), episode)
    assert all(value.requires_grad for value in params.values())
    for predictor in imaml(steps=2).path(model, params, episode.support):
        assert not any(value.requires_grad for value in predictor.params.values())


def test_conjugate_gradient_ends_where_it_cannot_go_on():
    b = [torch.tensor([1.0, -2.0]), torch.tensor(3.0)]
    for product in (lambda v: v, lambda v: [-each for each in v]):  # solved already; no minimum
        assert_close(conjugate_gradient(product, b, 5), b)
    zero = [torch.zeros(3)]
    assert_close(conjugate_gradient(lambda v: [2 * each for each in v], zero, 5), zero)
    scales = torch.tensor([2.0, 4.0]), torch.tensor(8.0)
    found = conjugate_gradient(lambda v: [s * each for s, each in zip(scales, v, strict=True)], b, 3)
    assert_close(found, [torch.tensor([0.5, -0.5]), torch.tensor(3 / 8)])


class TestImaml(Proof):
    learner = imaml()
    lacks = {"renaming": COUNTEREXAMPLE, "any_ways": COUNTEREXAMPLE}
