"""Products of filters with the table rows that each one looks up; any derivative costs as little as the products.

With a table E [rows, D], filters W [filters, D] and, for every filter, the rows it looks up, index [filters, items],

    z_ci = <E[index_ci], W_c>

Given cotangents g of z, the numbers z and the cotangents of E and W are the slopes of one form that is linear in each
of its three arguments, T(g, E, W) = sum_ci g_ci <E[index_ci], W_c>:

    T_g = z      T_E[r] = sum of g_ci W_c over index_ci = r      T_W[c] = sum_i g_ci E[index_ci]

and so is every further derivative: along (X, Y), the slopes of (T_E, T_W) are z(X, W) + z(E, Y), T_E at Y and T_W at X.
Each is a sum of weighted rows, torch's embedding_bag, or the slope of one; no [filters, items, D] tensor is ever made.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F


def products(table: Tensor, filters: Tensor, index: Tensor) -> Tensor:
    """z_ci = <table[index_ci], filters_c>, [filters, items].

    table    [rows, D]
    filters  [filters, D]
    index    [filters, items] int64, below rows

    Differentiable any number of times with respect to `table` and `filters`, by torch.autograd and torch.func. Under
    torch.vmap the tasks' tables and filters are one larger table and one larger set of filters.
    """
    found, order = index.flatten().sort()
    starts = torch.searchsorted(found.contiguous(), torch.arange(len(table), device=index.device))
    return _Products.apply(table.contiguous(), filters.contiguous(), index, order, starts)


class _Products(Function):
    """(E, W, index, order, starts) -> T_g.

    order   [filters * items]: where in index.flatten() the rows stand, by row
    starts  [rows]: where in `order` each row begins
    """

    @staticmethod
    def forward(table: Tensor, filters: Tensor, index: Tensor, order: Tensor, starts: Tensor) -> Tensor:
        count, items = index.shape
        each = torch.arange(count, device=index.device)
        # the slope of sum_i g_ci E[index_ci] along g, for any g: what this function of torch's is
        return torch.ops.aten._embedding_bag_per_sample_weights_backward(
            filters, table, index.flatten(), each * items, each.repeat_interleave(items), mode=0
        ).view(count, items)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return *_Slopes.apply(g, *ctx.saved_tensors), None, None, None

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[int | None, ...], *args: Tensor) -> tuple[Tensor, int]:
        return cls.apply(*_folded(info.batch_size, in_dims, args)).unflatten(0, (info.batch_size, -1)), 0


class _Slopes(Function):
    """(g, E, W, index, order, starts) -> T_E, T_W."""

    @staticmethod
    def forward(
        g: Tensor, table: Tensor, filters: Tensor, index: Tensor, order: Tensor, starts: Tensor
    ) -> tuple[Tensor, Tensor]:
        by_row = g.flatten().index_select(0, order)
        filter_by_row = torch.div(order, index.shape[1], rounding_mode="floor")
        return (
            F.embedding_bag(filter_by_row, filters, starts, mode="sum", per_sample_weights=by_row),
            F.embedding_bag(index, table, mode="sum", per_sample_weights=g.contiguous()),
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, table_out: Tensor, filters_out: Tensor) -> tuple[Tensor | None, ...]:
        g, table, filters, *where = ctx.saved_tensors
        table_out, filters_out = table_out.contiguous(), filters_out.contiguous()
        along = _Products.apply(table_out, filters, *where) + _Products.apply(table, filters_out, *where)
        return along, *_Slopes.apply(g, table_out, filters_out, *where), None, None, None

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[int | None, ...], *args: Tensor) -> tuple[tuple[Tensor, ...], tuple]:
        slopes = cls.apply(*_folded(info.batch_size, in_dims, args))
        return tuple(z.unflatten(0, (info.batch_size, -1)) for z in slopes), (0, 0)


def _folded(tasks: int, in_dims: tuple[int | None, ...], args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The arguments of one task's function, for all tasks as one: each task's rows and filters after the one before."""
    *values, index, order, starts = (
        z.expand(tasks, *z.shape) if dim is None else z.movedim(dim, 0) for z, dim in zip(args, in_dims, strict=True)
    )
    task = torch.arange(tasks, device=index.device).unsqueeze(1)
    index = index + task.unsqueeze(2) * starts.shape[1]
    order, starts = (z + task * order.shape[1] for z in (order, starts))
    return tuple(z.flatten(0, 1) for z in (*values, index, order, starts))
