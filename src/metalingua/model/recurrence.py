"""The LSTM recurrence of one task, with a second derivative that costs about as much as the first.

Hochreiter & Schmidhuber (1997), with a forget gate. Gates lie in the order i, f, g, o of torch.nn.LSTM. With W the
recurrent weight [4H, H], s the logistic function and * elementwise, step t is

    a_t = x_t + W h_{t-1}      (i, f, g, o) = (s, s, tanh, s)(a_t)
    c_t = f * c_{t-1} + i * g              h_t = o * tanh c_t

First derivative. Write z' for the derivative of the loss with respect to z, and H' for the part of h' from outside:

    h'_t = H'_t + W^T a'_{t+1}             c'_t = h'_t * k_t + c'_{t+1} * f_{t+1}
    a'_t = (c'_t, c'_t, c'_t, h'_t) * K_t  x' = a'    W' = sum_t a'_t h_{t-1}^T

Here K = (i (1-i) g, f (1-f) c_{t-1}, (1-g^2) i, o (1-o) tanh c), the slope of c (for i, f, g) or h (for o) along each
gate's a, and k = o (1 - tanh^2 c), that of h along c. Both are known for all steps before the loop over them starts.

Second derivative. (H', W, h, c, gates) -> (x', W') is linear in H' along a loop over t. Its adjoint runs the loop the
other way: it carries cotangents p of h' and q of c', starting from the cotangents X of x' and U of W':

    A_t = X_t + U h_{t-1} + W p_{t-1}
    q_t = sum of A_t * K_t over i, f, g + q_{t-1} * f_t              p_t = q_t * k_t + A_t * K_t over o

p is the cotangent of H'. (It is also the tangent of h when (x, W) moves along (X, U): x' and W' form the gradient of
sum_t <H'_t, h_t>, the Jacobian of a gradient is symmetric, so this adjoint is a tangent, as in Pearlmutter 1994.)
What is left is elementwise: cotangents of c and the gates, through K, k and f. They go back to the recurrence as
cotangents of its outputs, where they join the cotangent that reaches h through the rest of the network, so that one
backward loop serves both. In all, a gradient of a gradient takes four loops, each with one product by W per step;
everything else is done for all steps at once.

Texts of different lengths are packed, as in torch.nn.utils.rnn: texts in order of falling length, the rows of one
step together, and only the `sizes[t]` texts that reach step t have a row there. Nothing is computed for padding.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

Sizes = tuple[int, ...]


def lstm(x: Tensor, weight: Tensor, sizes: Sequence[int]) -> Tensor:
    """States h of every text at every step, packed, [rows, H]; the state before the first step is 0.

    x       [rows, 4H], packed: input projection plus bias; gates in the order i, f, g, o
    weight  [4H, H], recurrent weight
    sizes   rows of each step: never rising, the first is the number of texts, their sum is rows

    Differentiable twice with respect to `x` and `weight`, by torch.autograd and by torch.func.grad.
    Raises RuntimeError when a third derivative is asked for.
    """
    return _Recurrence.apply(x, weight.to(x.dtype), tuple(sizes))[0]


class _Recurrence(Function):
    """(x, weight) -> h, c, gates, and tanh c, which is a constant to autograd: its cotangent is counted with c's."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, sizes: Sizes) -> tuple[Tensor, ...]:
        hidden = weight.shape[1]
        # tanh z = 2 s(2z) - 1: with g's inputs doubled, one call of the logistic function serves all four gates
        double = x.new_ones(4, 1)
        double[2] = 2
        weight_t = (weight.view(4, -1) * double).view_as(weight).t().contiguous()
        gates = (x.view(-1, 4, hidden) * double).view_as(x)
        minus_one = x.new_full((), -1.0)
        h, c, tanh_c = (x.new_empty(len(x), hidden) for _ in range(3))
        h_at, c_at, tanh_at, gates_at = (z.split(sizes) for z in (h, c, tanh_c, gates))
        i_at, f_at, g_at, o_at = (z.split(sizes) for z in gates.chunk(4, 1))
        h_on, c_on = _going_on(h_at, sizes), _going_on(c_at, sizes)
        for t in range(len(sizes)):
            if t:
                gates_at[t].addmm_(h_on[t - 1], weight_t)
            gates_at[t].sigmoid_()
            torch.add(minus_one, g_at[t], alpha=2, out=g_at[t])
            torch.mul(i_at[t], g_at[t], out=c_at[t])
            if t:
                c_at[t].addcmul_(f_at[t], c_on[t - 1])
            torch.tanh(c_at[t], out=tanh_at[t])
            torch.mul(o_at[t], tanh_at[t], out=h_at[t])
        return h, c, gates, tanh_c

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, weight, ctx.sizes = inputs
        ctx.mark_non_differentiable(output[3])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(weight, *output)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        if all(z is None for z in cotangents):
            return None, None, None
        dx, dweight = _Gradient.apply(*cotangents[:3], *ctx.saved_tensors, ctx.sizes)[:2]
        return dx, dweight, None


class _Gradient(Function):
    """(cotangents of h, c and gates, weight, h, c, gates, tanh c) -> x', weight', and what their derivative needs."""

    @staticmethod
    def forward(
        h_out: Tensor | None,
        c_out: Tensor | None,
        gates_out: Tensor | None,
        weight: Tensor,
        h: Tensor,
        c: Tensor,
        gates: Tensor,
        tanh_c: Tensor,
        sizes: Sizes,
    ) -> tuple[Tensor, ...]:
        items = sizes[0]
        before = _rows_before(sizes, h.device)
        slopes, slope_h = _slopes(c, gates, tanh_c, items, before)
        # what arrives from outside; the loop adds what arrives from the step after
        dh = torch.zeros_like(h) if h_out is None else h_out.clone(memory_format=torch.contiguous_format)
        dc = torch.zeros_like(c) if c_out is None else c_out.clone(memory_format=torch.contiguous_format)
        da = torch.zeros_like(gates) if gates_out is None else _through_gates(gates_out, gates)
        dh_at, dc_at, da_at, k_at, dc_wide_at = (z.split(sizes) for z in (dh, dc, da, slope_h, dc.unsqueeze(1)))
        da_c_at, da_h_at = (z.split(sizes) for z in _by_target(da))
        slope_c_at, slope_h_at = (z.split(sizes) for z in _by_target(slopes))
        f_at = gates.chunk(4, 1)[1].split(sizes)
        dh_on, dc_on = _going_on(dh_at, sizes), _going_on(dc_at, sizes)
        for t in reversed(range(len(sizes))):
            if t + 1 < len(sizes):
                dh_on[t].addmm_(da_at[t + 1], weight)
                dc_on[t].addcmul_(dc_at[t + 1], f_at[t + 1])
            dc_at[t].addcmul_(dh_at[t], k_at[t])
            da_c_at[t].addcmul_(dc_wide_at[t], slope_c_at[t])
            da_h_at[t].addcmul_(dh_at[t], slope_h_at[t])
        h_before = h.index_select(0, before)
        dweight = torch.mm(da[items:].t(), h_before, out=torch.empty_like(weight))
        return da, dweight, dh, dc, slopes, slope_h, h_before, before

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        *_, weight, _, c, gates, tanh_c, ctx.sizes = inputs
        ctx.mark_non_differentiable(*output[2:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(weight, c, gates, tanh_c, output[0], *output[2:])

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        h_out, weight, h, c, gates = _GradientOfGradient.apply(*cotangents[:2], *ctx.saved_tensors, ctx.sizes)
        return h_out, None, None, weight, h, c, gates, None, None


class _GradientOfGradient(Function):
    """Cotangents of (x', weight') -> cotangents of (cotangent of h, weight, h, c, gates).

    The cotangents of c and gates that `_Gradient` also takes come from here alone, so they need no derivative: it
    would be a third, and this class raises when autograd passes it.
    """

    @staticmethod
    def forward(
        x_out: Tensor | None,
        weight_out: Tensor | None,
        weight: Tensor,
        c: Tensor,
        gates: Tensor,
        tanh_c: Tensor,
        da: Tensor,
        dh: Tensor,
        dc: Tensor,
        slopes: Tensor,
        slope_h: Tensor,
        h_before: Tensor,
        before: Tensor,
        sizes: Sizes,
    ) -> tuple[Tensor, ...]:
        items = sizes[0]
        a = torch.zeros_like(da) if x_out is None else x_out.clone(memory_format=torch.contiguous_format)
        h = torch.zeros_like(dh)
        if weight_out is not None:
            a[items:].addmm_(h_before, weight_out.t())
            h.index_copy_(0, before, torch.mm(da[items:], weight_out, out=torch.empty_like(h_before)))
        p, q = torch.empty_like(dh), torch.empty_like(dc)
        weight_t = weight.t().contiguous()
        a_at, p_at, q_at, k_at = (z.split(sizes) for z in (a, p, q, slope_h))
        a_c_at, a_h_at = (z.split(sizes) for z in _by_target(a))
        slope_c_at, slope_h_at = (z.split(sizes) for z in _by_target(slopes))
        f_at = gates.chunk(4, 1)[1].split(sizes)
        p_on, q_on = _going_on(p_at, sizes), _going_on(q_at, sizes)
        for t in range(len(sizes)):
            if t:
                a_at[t].addmm_(p_on[t - 1], weight_t)
            torch.sum(a_c_at[t] * slope_c_at[t], 1, out=q_at[t])
            if t:
                q_at[t].addcmul_(q_on[t - 1], f_at[t])
            torch.mul(q_at[t], k_at[t], out=p_at[t])
            p_at[t].addcmul_(a_h_at[t], slope_h_at[t])
        dweight = torch.mm(da[items:].t(), p.index_select(0, before), out=torch.empty_like(weight))
        c_out, gates_out = _through_slopes(a, q, dh, dc, c, gates, tanh_c, items, before)
        return p, dweight, h, c_out, gates_out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> None:
        raise RuntimeError("metalingua.model.recurrence.lstm has two derivatives; a third was asked for")


def _going_on(at: Sequence[Tensor], sizes: Sizes) -> list[Tensor]:
    """For each step but the last, its rows of the texts that have a next step."""
    return [z if now == then else z[:then] for z, (now, then) in zip(at, pairwise(sizes), strict=False)]


def _rows_before(sizes: Sizes, device: torch.device) -> Tensor:
    """For each row after the first step, the row of the same text one step earlier, int64 [rows - items]."""
    size = torch.tensor(sizes, device=device)
    return torch.arange(sizes[0], sum(sizes), device=device) - size[:-1].repeat_interleave(size[1:])


def _by_target(z: Tensor) -> tuple[Tensor, Tensor]:
    """Of [rows, 4H], the part of the gates that act on c [rows, 3, H], and the part of the gate that acts on h."""
    z = z.view(len(z), 4, -1)
    return z[:, :3], z[:, 3]


def _slopes(c: Tensor, gates: Tensor, tanh_c: Tensor, items: int, before: Tensor) -> tuple[Tensor, Tensor]:
    """K [rows, 4H] and k [rows, H]."""
    i, f, g, o = gates.chunk(4, 1)
    slopes = torch.empty_like(gates)
    to_i, to_f, to_g, to_o = slopes.chunk(4, 1)
    torch.mul(torch.addcmul(i, i, i, value=-1), g, out=to_i)
    to_f[:items] = 0  # nothing to forget before the first step
    torch.mul(torch.addcmul(f, f, f, value=-1)[items:], c.index_select(0, before), out=to_f[items:])
    torch.addcmul(i, i, g * g, value=-1, out=to_g)
    torch.mul(torch.addcmul(o, o, o, value=-1), tanh_c, out=to_o)
    return slopes, torch.addcmul(o, o, tanh_c * tanh_c, value=-1)


def _through_gates(gates_out: Tensor, gates: Tensor) -> Tensor:
    """Cotangent of a, given the one of gates = (s, s, tanh, s)(a); all [rows, 4H]."""
    da = gates * gates
    g_squared = da.chunk(4, 1)[2]
    slope = gates - da
    torch.sub(gates.new_ones(()), g_squared, out=slope.chunk(4, 1)[2])
    return torch.mul(gates_out, slope, out=da)


def _through_slopes(
    a: Tensor,
    q: Tensor,
    dh: Tensor,
    dc: Tensor,
    c: Tensor,
    gates: Tensor,
    tanh_c: Tensor,
    items: int,
    before: Tensor,
) -> tuple[Tensor, Tensor]:
    """Cotangents of c [rows, H] and gates [rows, 4H], by way of K, k and the f that carries c'.

    Those of K are a * (c', c', c', h'), of k q * h', of f q_{t-1} * c'.
    """
    i, f, g, o = gates.chunk(4, 1)
    along = torch.empty_like(gates)
    torch.mul(_by_target(a)[0], dc.unsqueeze(1), out=_by_target(along)[0])
    torch.mul(_by_target(a)[1], dh, out=_by_target(along)[1])
    along_i, along_f, along_g, along_o = along.chunk(4, 1)
    along_k = q * dh
    logistic_slope = gates - gates * gates
    slope_i, slope_f, _, slope_o = logistic_slope.chunk(4, 1)
    one = gates.new_ones(())
    tanh_slope = torch.addcmul(one, tanh_c, tanh_c, value=-1)

    out = torch.empty_like(gates)
    i_out, f_out, g_out, o_out = out.chunk(4, 1)
    # K_i = i (1-i) g, K_g = (1-g^2) i
    torch.mul(along_i * g, torch.add(one, i, alpha=-2), out=i_out)
    i_out.addcmul_(along_g, torch.addcmul(one, g, g, value=-1))
    torch.mul(along_i, slope_i, out=g_out)
    g_out.addcmul_(along_g, i * g, value=-2)
    # K_f = f (1-f) c_{t-1}, c'_{t-1} += c'_t * f_t
    f_out[:items] = 0
    torch.mul(dc[items:], q.index_select(0, before), out=f_out[items:])
    f_out[items:].addcmul_(along_f[items:] * c.index_select(0, before), torch.add(one, f[items:], alpha=-2))
    # K_o = o (1-o) tanh c, k = o (1 - tanh^2 c)
    torch.mul(along_o * tanh_c, torch.add(one, o, alpha=-2), out=o_out)
    o_out.addcmul_(along_k, tanh_slope)
    c_out = torch.mul(along_o, slope_o).addcmul_(along_k, o * tanh_c, value=-2).mul_(tanh_slope)
    c_out.index_add_(0, before, (along_f * slope_f)[items:])
    return c_out, out
