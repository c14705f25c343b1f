"""Inner optimisers: against torch.optim where both agree, by hand where they do not; and their slopes."""

import pytest
import torch
from proof import gradient_errors
from torch.testing import assert_close

from metalingua.learner.inner import GRADIENT_DESCENT, Adam, GradientDescent, Momentum
from metalingua.learner.maml import Maml

DICE = torch.Generator().manual_seed(0)
GRADS = [{"a": torch.randn(3, dtype=torch.float64, generator=DICE), "b": torch.randn(2, 2, dtype=torch.float64,
          generator=DICE)} for _ in range(5)]  # fmt: skip
ADAM = {"beta1": 0.9, "beta2": 0.99}


def one(value):
    return {"w": torch.tensor([value], dtype=torch.float64)}


def directions(inner, grads):
    """Of each step in turn."""
    found, memory = [], None
    for each in grads:
        direction, memory = inner.directions(each, memory)
        found.append(direction)
    return found


def of_torch(optimizer, grads, **how):
    """What torch's optimizer subtracts at each step, with lr 1."""
    params = {name: torch.zeros_like(value, requires_grad=True) for name, value in grads[0].items()}
    stepper, found = optimizer(params.values(), lr=1.0, **how), []
    for each in grads:
        before = {name: value.detach().clone() for name, value in params.items()}
        for name, value in params.items():
            value.grad = each[name].clone()
        stepper.step()
        found.append({name: before[name] - value.detach() for name, value in params.items()})
    return found


def test_gradient_descent_is_the_gradient():
    assert directions(GRADIENT_DESCENT, GRADS) == GRADS
    assert isinstance(GRADIENT_DESCENT, GradientDescent)


def test_momentum_is_torchs():
    assert_close(directions(Momentum(0.9), GRADS), of_torch(torch.optim.SGD, GRADS, momentum=0.9))
    assert_close(directions(Momentum(0.0), GRADS), GRADS)
    nesterov = of_torch(torch.optim.SGD, GRADS, momentum=0.9, nesterov=True)
    assert not torch.allclose(nesterov[1]["a"], directions(Momentum(0.9), GRADS)[1]["a"])


def test_momentum_by_hand():
    found = directions(Momentum(0.5), [one(1.0), one(2.0), one(-4.0)])
    assert [each["w"].item() for each in found] == [1, 2.5, -2.75]


def test_adam_is_torchs_where_epsilon_is_nothing():
    ours, theirs = directions(Adam(**ADAM, epsilon=1e-30), GRADS), of_torch(torch.optim.Adam, GRADS, betas=(0.9, 0.99),
                                                                           eps=1e-30)  # fmt: skip
    assert_close(ours, theirs)
    assert not torch.allclose(directions(Adam(0.8, 0.99, 1e-30), GRADS)[1]["a"], theirs[1]["a"])


def test_adam_is_not_torchs_where_epsilon_counts():
    """Under the root here, after it there: 3/sqrt(9 + 7) against 3/(3 + 7) at the first step, whatever the betas."""
    (ours,), (theirs,) = (
        directions(Adam(**ADAM, epsilon=7.0), [one(3.0)]),
        of_torch(torch.optim.Adam, [one(3.0)], eps=7),
    )
    assert ours["w"].item() == pytest.approx(0.75) and theirs["w"].item() == pytest.approx(0.3)


def test_adams_second_step_by_hand():
    """m = 0.9 * 0.1 * 1 + 0.1 * 2 = 0.29, over 1 - 0.81; v = 0.99 * 0.01 * 1 + 0.01 * 4 = 0.0499, over 1 - 0.9801."""
    second = directions(Adam(**ADAM, epsilon=1e-30), [one(1.0), one(2.0)])[1]["w"].item()
    assert second == pytest.approx((0.29 / 0.19) / (0.0499 / 0.0199) ** 0.5)


@pytest.mark.parametrize(
    "inner", [GRADIENT_DESCENT, Momentum(0.9), Adam(**ADAM, epsilon=1e-2)], ids=lambda i: type(i).__name__
)
def test_directions_are_differentiable_also_where_a_gradient_is_zero(inner):
    first, second = torch.tensor([[0.5, -1.5, 0.0], [0.7, 0.2, 0.0]], dtype=torch.float64).requires_grad_()

    def last(one, other):
        return directions(inner, [{"w": one}, {"w": other}])[-1]["w"]

    both = [each.detach().requires_grad_() for each in (first, second)]
    assert torch.autograd.gradcheck(last, both) and torch.autograd.gradgradcheck(last, both)


def test_with_epsilon_after_the_root_the_slope_at_zero_would_not_be_finite():
    def slope(direction):
        grad = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        return torch.autograd.grad(direction(grad).sum(), grad)[0].item()

    ours = slope(lambda grad: Adam(**ADAM, epsilon=1e-8).directions({"w": grad}, None)[0]["w"])
    assert ours == pytest.approx(1e4)  # 1 / sqrt(epsilon)
    textbook = slope(lambda grad: grad / (grad.square().sqrt() + 1e-8))
    assert textbook != textbook  # not a number


@pytest.mark.parametrize("inner", [Momentum(0.9), Adam(**ADAM, epsilon=1e-3)], ids=lambda inner: type(inner).__name__)
def test_the_meta_gradient_through_them_is_exact(inner):
    """In the toy world some query words are missing from the support set: their gradients are zero."""
    how = {"steps": 3, "step_size": 0.05, "inner": inner}
    assert max(gradient_errors(Maml("MAML", order=2, **how))) < 1e-6
    assert min(gradient_errors(Maml("MAML", order=1, **how))) > 1e-4


def test_what_is_remembered_is_not_written_to():
    for inner in (Momentum(0.9), Adam(**ADAM, epsilon=1e-8)):
        _, memory = inner.directions(GRADS[0], None)
        once, again = (inner.directions(GRADS[1], memory)[0] for _ in range(2))
        assert_close(once, again, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("made", "key", "value", "rule"),
    [
        (lambda: Momentum(1.0), "momentum", 1.0, "at least 0, below 1"),
        (lambda: Momentum(-0.1), "momentum", -0.1, "at least 0, below 1"),
        (lambda: Adam(1.0, 0.9, 1e-8), "beta1", 1.0, "at least 0, below 1"),
        (lambda: Adam(0.9, -1, 1e-8), "beta2", -1, "at least 0, below 1"),
        (lambda: Adam(0.9, 0.9, 0), "epsilon", 0, "above 0"),
    ],
)
def test_a_setting_that_cannot_work_is_named(made, key, value, rule):
    with pytest.raises(ValueError, match=rf"inner\.{key} is {value}: it must be .*{rule}"):
        made()
