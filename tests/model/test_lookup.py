import torch
from torch.autograd import grad, gradcheck, gradgradcheck

from metalingua.model.lookup import products

DICE = torch.Generator().manual_seed(0)
TABLE = torch.randn(6, 3, dtype=torch.float64, generator=DICE, requires_grad=True)
FILTERS = torch.randn(5, 3, dtype=torch.float64, generator=DICE, requires_grad=True)
INDEX = torch.tensor([[0, 1], [1, 1], [5, 2], [2, 0], [5, 5]])  # row 1 often, twice by one filter; 3 and 4 by none


def textbook(table, filters, index):
    return (table[index] * filters.unsqueeze(1)).sum(2)


def test_products_are_the_textbooks():
    torch.testing.assert_close(products(TABLE, FILTERS, INDEX), textbook(TABLE, FILTERS, INDEX))
    assert not torch.allclose(products(TABLE, FILTERS, INDEX.flip(1)), textbook(TABLE, FILTERS, INDEX))


def test_two_derivatives_match_finite_differences():
    assert gradcheck(lambda *z: products(*z, INDEX), (TABLE, FILTERS))
    assert gradgradcheck(lambda *z: products(*z, INDEX), (TABLE, FILTERS))


def test_the_third_derivative_is_the_textbooks():
    def third(function):
        found = function(TABLE, FILTERS, INDEX).pow(4).sum()
        for _ in range(3):
            found = sum(slope.pow(2).sum() for slope in grad(found, (TABLE, FILTERS), create_graph=True))
        return found

    torch.testing.assert_close(third(products), third(textbook))


def test_a_row_that_no_filter_looks_up_has_no_slope():
    slope = grad(products(TABLE, FILTERS, INDEX).sum(), TABLE)[0]
    assert slope[3:5].eq(0).all() and slope[[0, 1, 2, 5]].ne(0).all()


def test_a_batch_of_tasks_equals_a_loop_over_them():
    tables, index = torch.stack([TABLE, TABLE * 2, -TABLE]).detach(), torch.stack([INDEX, INDEX.flip(0), INDEX.flip(1)])

    def slopes(table, index):  # of slopes
        def first(table):
            return torch.func.grad(lambda table: products(table, FILTERS.detach(), index).sin().sum())(table)

        return torch.func.grad(lambda table: first(table).pow(2).sum())(table)

    batched = torch.vmap(slopes)(tables, index)
    torch.testing.assert_close(batched, torch.stack([slopes(*z) for z in zip(tables, index, strict=True)]))
    assert not torch.allclose(batched[0], batched[2])
