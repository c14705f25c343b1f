from functools import partial

import pytest
import torch
from given import given
from proof import Proof
from sklearn.linear_model import LogisticRegression
from torch.autograd import grad, gradcheck
from torch.testing import assert_close

from metalingua.learner import metaoptnet
from metalingua.learner.metaoptnet import MetaOptNet, solved
from metalingua.problem.classification import Classification
from metalingua.problem.regression import Regression

LEARNER = MetaOptNet("convex head", penalty=0.5)
DICE = torch.Generator().manual_seed(0)
X = torch.randn(9, 4, generator=DICE, dtype=torch.float64)
TARGETS = torch.tensor([0, 1, 2] * 3)
Y = torch.eye(3).double()[TARGETS]


class TestMetaOptNet(Proof):
    learner = LEARNER


def test_the_head_is_scikit_learns_optimum():
    queries = torch.randn(5, 4, generator=DICE, dtype=torch.float64)
    model, params, support, query = given(X, TARGETS, queries)
    params["learner.metaoptnet.scale"] = torch.tensor(3.0).double()
    predictor = LEARNER.adapt(model, params, support)
    line = LogisticRegression(C=1 / 0.5, fit_intercept=False, tol=1e-12, max_iter=10_000).fit(
        X.numpy(), TARGETS.numpy()
    )
    assert_close(predictor.params["weights"].t(), torch.from_numpy(line.coef_), rtol=1e-5, atol=1e-6)
    assert_close(predictor.outputs(query), 3 * queries @ torch.from_numpy(line.coef_).t(), rtol=1e-5, atol=1e-5)
    stiffer = MetaOptNet("convex head", penalty=5.0).adapt(model, params, support)
    assert stiffer.params["weights"].norm() < 0.5 * predictor.params["weights"].norm()


@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 1.0, 1e4])
@pytest.mark.parametrize("ways", [2, 3])
def test_the_gradient_of_the_loss_is_zero_there(ways, penalty):
    x, y = 10 * X, torch.eye(ways).double()[TARGETS % ways]

    def slope(weights):
        weights = weights.detach().requires_grad_()
        loss = torch.nn.functional.cross_entropy(x @ weights, y, reduction="sum") + penalty / 2 * weights.square().sum()
        return grad(loss, weights)[0].norm()

    weights = x.t() @ solved(x @ x.t(), y, penalty)
    assert slope(weights) < 1e-6 < 1e-4 < slope(1.1 * weights) + slope(0 * weights)


def test_newtons_method_needs_its_halved_steps(monkeypatch):
    """Far from the optimum a whole step may climb: on these three texts, if nobody looks at the loss, it never ends."""
    x, y = torch.tensor([[-8.53, 11.3], [-0.29, 1.65], [-8.72, 2.06]]).double(), torch.eye(3).double()[[1, 1, 0]]

    def left():
        return metaoptnet._residual(x @ x.t(), y, 0.01, solved(x @ x.t(), y, 0.01)).abs().max()

    assert left() < 1e-12
    monkeypatch.setattr(metaoptnet, "MOST_STEPS", 30)
    monkeypatch.setattr(metaoptnet, "_objective", lambda *_: torch.tensor(0.0))
    assert left() > 0.1


def test_the_last_step_is_the_implicit_gradient_and_changes_no_value(monkeypatch):
    few, codes = X[:4, :2], Y[:4]

    def logits(x, head=solved):
        gram = x @ x.t()
        return gram @ head(gram, codes, 0.5)

    x = few.clone().requires_grad_()
    assert gradcheck(logits, x, fast_mode=True)
    constant = partial(logits, head=lambda *args: solved(*args).detach())  # the head taken for a constant
    assert not gradcheck(constant, x, fast_mode=True, raise_exception=False)
    with torch.no_grad():
        assert torch.equal(logits(few), logits(x))
    with_it = logits(few)
    monkeypatch.setattr(metaoptnet, "SOLVED", 1e-12)  # so that nothing is left for the last step
    assert_close(logits(few), with_it, rtol=1e-12, atol=1e-14)
    monkeypatch.setattr(metaoptnet, "SOLVED", 0.1)  # too early: what is left then does count
    assert not torch.allclose(logits(few), with_it, rtol=1e-6)


def test_the_matrix_of_newtons_step_is_the_derivative_of_the_residual():
    gram, dual = X @ X.t(), torch.randn(9, 3, generator=DICE, dtype=torch.float64)
    slope = torch.autograd.functional.jacobian(lambda a: metaoptnet._residual(gram, Y, 0.5, a), dual).reshape(27, 27)
    step = metaoptnet._newton(gram, 0.5, dual, Y)
    assert_close(slope @ step.flatten(), Y.flatten())
    other = torch.autograd.functional.jacobian(lambda a: metaoptnet._residual(gram, Y, 0.6, a), dual).reshape(27, 27)
    assert not torch.allclose(other @ step.flatten(), Y.flatten(), atol=1e-3)


def test_a_feature_that_is_not_a_number_ends_the_search():
    assert solved(torch.full((9, 9), torch.nan).double(), Y, 0.5).isnan().all()


def test_ratings_and_penalties_that_cannot_work_are_refused():
    assert "a number has no classes" in LEARNER.refuses(Regression(-4, 4))
    assert LEARNER.refuses(Classification(2)) is None
    with pytest.raises(ValueError, match=r"learner\.penalty is 0: it must be .*above 0"):
        MetaOptNet("convex head", penalty=0)
