"""One parameter on a parabola, worked by hand, and what descending must leave alone."""

from types import SimpleNamespace

import pytest
import torch
from torch.autograd import grad
from torch.testing import assert_close
from toy import tiny_episodes, tiny_model, tiny_params

from metalingua.learner.descent import descent, stepping, support_loss
from metalingua.learner.inner import GRADIENT_DESCENT
from metalingua.learner.maml import Maml
from metalingua.training.engine import localise

BOTH_ORDERS = pytest.mark.parametrize("order", [1, 2])


class Line:
    """A model whose output is its one parameter, whatever it reads."""

    rows = ""

    def names(self, params, problem):
        return ["encoder.w"]

    def outputs(self, params, inputs, problem):
        return params["encoder.w"]


BOWL = SimpleNamespace(loss=lambda w, centre: 0.5 * (w - centre) ** 2)  # slope w - centre, Hessian 1
PLANE = SimpleNamespace(loss=lambda w, slopes: w @ slopes)  # no Hessian
EPISODE = SimpleNamespace(
    index=0,
    support=SimpleNamespace(problem=BOWL, inputs=None, targets=torch.tensor(1.0)),
    query=SimpleNamespace(problem=BOWL, inputs=None, targets=torch.tensor(-2.0)),
)


def path_of(model, params, support, *, steps, step_size, order):
    moving = {name: params[name] for name in model.names(params, support.problem)}
    loss, update = support_loss(model, params, support), stepping(GRADIENT_DESCENT, step_size)
    return descent(loss, moving, update, steps=steps, order=order)


def last(*args, **how):
    *_, fast = path_of(*args, **how)
    return fast


@BOTH_ORDERS
def test_two_steps_on_a_parabola_by_hand(order):
    w = torch.tensor(3.0, requires_grad=True)
    path = [
        fast["encoder.w"].item()
        for fast in path_of(Line(), {"encoder.w": w}, EPISODE.support, steps=2, step_size=0.1, order=order)
    ]
    assert path == pytest.approx([3.0, 2.8, 2.62])
    learner = Maml("MAML", steps=2, step_size=0.1, order=order)
    assert learner.adapt(Line(), {"encoder.w": w}, EPISODE.support).outputs(None).item() == pytest.approx(2.62)
    loss = learner.episode_loss(Line(), {"encoder.w": w}, EPISODE)
    assert loss.item() == pytest.approx(0.5 * (2.62 + 2.0) ** 2)
    shrunk = (1 - 0.1) ** 2 if order == 2 else 1.0  # first order: the identity path alone
    assert_close(grad(loss, w)[0], torch.tensor(shrunk * (2.62 + 2.0)))


def test_first_order_is_exact_when_the_hessian_is_zero():
    def meta_slope(problem, targets, order):
        w = torch.arange(4.0, requires_grad=True)
        support = SimpleNamespace(problem=problem, inputs=None, targets=targets)
        fast = last(Line(), {"encoder.w": w}, support, steps=3, step_size=0.5, order=order)
        return grad((fast["encoder.w"] ** 3).sum(), w)[0]

    slopes = torch.tensor([1.0, -2.0, 0.5, 3.0])
    assert torch.equal(meta_slope(PLANE, slopes, 1), meta_slope(PLANE, slopes, 2))
    bowl = SimpleNamespace(loss=lambda w, centre: BOWL.loss(w, centre).sum())
    assert not torch.allclose(meta_slope(bowl, slopes, 1), meta_slope(bowl, slopes, 2))


@BOTH_ORDERS
def test_no_step_changes_nothing_and_every_step_does(order):
    episode, model = tiny_episodes("meta_test")[0], tiny_model()
    params = localise(model, tiny_params(model), episode)
    none, one = (
        last(model, params, episode.support, steps=steps, step_size=0.5, order=order) for steps in (0, 1)
    )  # fmt: skip
    assert set(none) == set(one) == set(model.names(params, episode.support.problem))
    assert all(torch.equal(none[name], params[name]) for name in none)
    assert all((one[name] != params[name]).any() for name in one)


@BOTH_ORDERS
@pytest.mark.parametrize("outer", [True, False])
def test_parameters_are_read_and_never_written(order, outer):
    episode, model = tiny_episodes("meta_test")[0], tiny_model()
    params = localise(model, tiny_params(model), episode)
    before = {name: value.detach().clone() for name, value in params.items()}
    versions = {name: value._version for name, value in params.items()}
    with torch.set_grad_enabled(outer):
        fast = last(model, params, episode.support, steps=2, step_size=0.5, order=order)
    assert all(torch.equal(params[name], before[name]) and params[name].requires_grad for name in params)
    assert {name: value._version for name, value in params.items()} == versions
    assert all(value.grad is None for value in params.values() if value.is_leaf)
    assert all(fast[name].requires_grad == outer for name in fast)


def test_grad_mode_off_descends_to_the_same_place():
    episode, model = tiny_episodes("meta_test")[0], tiny_model()
    params = localise(model, tiny_params(model), episode)
    how = {"steps": 3, "step_size": 0.5, "order": 2}
    watched = last(model, params, episode.support, **how)
    with torch.no_grad():
        unwatched = last(model, params, episode.support, **how)
        plain = last(model, {name: value.detach() for name, value in params.items()}, episode.support, **how)
    frozen = last(model, {name: value.detach() for name, value in params.items()}, episode.support, **how)
    for other in (unwatched, plain, frozen):
        assert all(torch.equal(watched[name], other[name]) for name in watched)


def test_the_support_loss_falls_and_with_the_other_sign_it_would_rise():
    episode, model = tiny_episodes("meta_test")[0], tiny_model()
    params = localise(model, tiny_params(model), episode)
    support = episode.support

    def losses(step_size):
        path = path_of(model, params, support, steps=4, step_size=step_size, order=1)
        return [support.problem.loss(model.outputs(p, support.inputs, support.problem), support.targets) for p in path]

    down, up = losses(0.1), losses(-0.1)
    assert len(down) == 5 and down[0] == up[0]
    assert all(after < before for before, after in zip(down, down[1:], strict=False))
    assert all(after > before for before, after in zip(up, up[1:], strict=False))
