import torch
from torch.autograd import gradcheck
from torch.testing import assert_close

from metalingua.learner.least_squares import ridge_weights

DICE = torch.Generator().manual_seed(0)
PENALTY = torch.tensor(0.3).double()


def drawn(*shape):
    return torch.randn(*shape, generator=DICE, dtype=torch.float64)


def normal_equations(x, y, penalty):
    """A row for each feature."""
    return torch.linalg.solve(x.t() @ x + penalty * torch.eye(x.shape[1], dtype=x.dtype), x.t() @ y)


def woodbury(x, y, penalty):
    """A row for each item."""
    return x.t() @ torch.linalg.solve(x @ x.t() + penalty * torch.eye(len(x), dtype=x.dtype), y)


def test_it_is_the_solution_of_the_normal_equations():
    for items, size in ((4, 9), (9, 4), (1, 3)):
        x, y = drawn(items, size), drawn(items, 3)
        found = ridge_weights(x, y, PENALTY)
        assert_close(found, normal_equations(x, y, PENALTY))
        assert_close(found, woodbury(x, y, PENALTY))
        assert not torch.allclose(found, normal_equations(x, y, 2 * PENALTY), rtol=1e-2)


def test_its_slopes():
    for items, size in ((4, 5), (5, 4)):
        args = [each.requires_grad_() for each in (drawn(items, size), drawn(items, 2), PENALTY.clone())]
        assert gradcheck(ridge_weights, args)


def test_many_items_make_no_system_of_their_own():
    """The tokens of long contexts: 200,000 items squared would be 320 GB."""
    x = drawn(200_000, 3)
    assert_close(ridge_weights(x, x[:, :1], PENALTY)[:, 0], torch.eye(3).double()[0], rtol=1e-4, atol=1e-4)


def test_float32_features_that_are_nearly_alike():
    """Twenty texts with almost one direction: a float32 system loses the digits that a small penalty asks for."""
    x = (drawn(1, 30) + 1e-3 * drawn(20, 30)).float()
    y, penalty = drawn(20, 2).float(), torch.tensor(1e-6)
    exact = ridge_weights(x.double(), y.double(), penalty)
    gram = x @ x.t() + penalty * torch.eye(20)
    single = x.t() @ torch.linalg.solve(gram, y)
    found = ridge_weights(x, y, penalty)
    assert found.dtype == torch.float32
    assert (found - exact).norm() < 1e-5 * exact.norm() < (single - exact).norm()


def test_a_feature_that_is_not_a_number_stays_one():  # training then stops with a reason of its own
    assert ridge_weights(torch.full((2, 2), torch.nan), torch.eye(2), PENALTY).isnan().all()
