from types import SimpleNamespace

import pytest
import torch
from given import given
from proof import Proof
from torch.testing import assert_close
from toy import tiny_model

from metalingua.learner.induction_net import InductionNet, routed, squash
from metalingua.problem.classification import Classification
from metalingua.problem.regression import Regression

LEARNER = InductionNet("induction network", routings=3, slices=20)
DICE = torch.Generator().manual_seed(0)


class TestInductionNet(Proof):
    learner = LEARNER


def drawn(*shape):
    return torch.randn(*shape, generator=DICE, dtype=torch.float64)


def test_squash_keeps_directions_and_bounds_lengths():
    assert_close(squash(torch.tensor([[3.0, 4]])), torch.tensor([[0.6, 0.8]]) * 25 / 26)
    zero = torch.zeros(1, 2, requires_grad=True)
    squash(zero).sum().backward()
    assert zero.grad.isfinite().all() and squash(zero).eq(0).all()


def test_routing_is_the_papers_loop_over_classes():
    texts, classes = drawn(7, 3), [[0, 3, 4], [1], [2, 5, 6]]
    members = torch.zeros(3, 7, dtype=torch.bool)
    for c, own in enumerate(classes):
        members[c, own] = True
    expected = []
    for own in classes:
        b = torch.zeros(len(own)).double()
        for _ in range(3):
            d = b.exp() / b.exp().sum()
            c = sum(weight * texts[i] for weight, i in zip(d, own, strict=True))
            c = (c @ c) / (1 + c @ c) * c / (c @ c).sqrt()
            b = b + texts[own] @ c
        expected.append(c)
    assert_close(routed(texts, members, 3), torch.stack(expected))
    assert not torch.allclose(routed(texts, members, 2), torch.stack(expected))


def test_routing_heeds_what_agrees_with_the_rest():
    """Two texts one way, one the other: after the first round, which is the mean, the odd one out counts less."""
    texts, members = torch.tensor([[2.0, 0], [2, 0], [0, 2]]).double(), torch.ones(1, 3, dtype=torch.bool)
    once, thrice = routed(texts, members, 1)[0], routed(texts, members, 3)[0]
    assert_close(once, squash(texts.mean(0)))
    assert thrice[0] / thrice[1] > 2 * once[0] / once[1]


def test_scores_and_loss_by_the_papers_formulas():
    model, params, support, query = given(drawn(5, 4), [0, 1, 0, 2, 1], drawn(3, 4))
    own = {name: value.double() for name, value in LEARNER.init(tiny_model(), 0).items()}
    w, b, tensor, score, bias = own.values()
    support_points, queries = params[model.rows].split([5, 3])
    found = LEARNER.adapt(model, params | own, support)
    members = torch.eye(3)[support.targets].t() > 0
    classes = routed(squash(support_points @ w.t() + b), members, 3)
    assert_close(found.params["classes"], classes)
    forms = [[torch.stack([c @ m @ q for m in tensor]).clamp(min=0) for c in classes] for q in queries]
    expected = torch.stack([torch.stack([score[0] @ form + bias[0] for form in row]) for row in forms])
    assert_close(found.outputs(query), expected, rtol=1e-6, atol=1e-6)
    assert expected.std() > 1e-3
    truth = SimpleNamespace(inputs=query, problem=support.problem, targets=torch.tensor([2, 0, 1]))
    loss = LEARNER.episode_loss(model, params | own, SimpleNamespace(support=support, query=truth))
    assert_close(
        loss, (expected.sigmoid() - torch.eye(3).double()[truth.targets]).square().mean(), rtol=1e-6, atol=1e-7
    )


def test_fresh_parameters_are_a_function_of_the_seed():
    first, again, other = (LEARNER.init(tiny_model(), seed) for seed in (0, 0, 1))
    shapes = {name.removeprefix("learner.induction_net."): tuple(value.shape) for name, value in first.items()}
    assert shapes == {"induction.weight": (4, 4), "induction.bias": (4,), "tensor": (20, 4, 4), "score.weight": (1, 20),
                      "score.bias": (1,)}  # fmt: skip
    assert all(torch.equal(first[k], again[k]) and not torch.equal(first[k], other[k]) for k in first)


@pytest.mark.parametrize("key", ["routings", "slices"])
def test_ratings_and_settings_that_cannot_work_are_refused(key):
    assert "a number has no classes" in LEARNER.refuses(Regression(-4, 4))
    assert LEARNER.refuses(Classification(2)) is None
    with pytest.raises(ValueError, match=rf"learner\.{key} is 0: it must be .*at least 1"):
        InductionNet("induction network", **{"routings": 3, "slices": 5, key: 0})
