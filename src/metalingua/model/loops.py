"""The loops over time of `metalingua.model.recurrence`, which says what they compute, on plain tensors.

Written in what TorchScript compiles: a loop then runs without Python's interpreter lock, so that two tasks in two
threads do not wait for each other. Every result is written where it will lie: memory just allocated costs more to touch
than most of these operations to compute.
"""

import torch
from torch import Tensor


def forward(x: Tensor, place: Tensor, weight: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """h, c [rows, H], gates [rows, 4H] and tanh c."""
    hidden = weight.shape[1]
    # tanh z = 2 s(2z) - 1: with g's inputs doubled, one call of the logistic function serves all four gates
    weight_t, gates = weight.t().contiguous(), x.index_select(0, place)
    for z in (weight_t, gates):
        z[:, 2 * hidden : 3 * hidden].mul_(2)
    minus_one = torch.full([], -1.0, dtype=x.dtype, device=x.device)
    h = torch.empty([len(gates), hidden], dtype=x.dtype, device=x.device)
    c, tanh_c = torch.empty_like(h), torch.empty_like(h)
    i, f, g, o = gates.chunk(4, 1)
    h_at, c_at, tanh_at, gates_at = h.split(sizes), c.split(sizes), tanh_c.split(sizes), gates.split(sizes)
    i_at, f_at, g_at, o_at = i.split(sizes), f.split(sizes), g.split(sizes), o.split(sizes)
    h_on, c_on = going_on(h_at, sizes), going_on(c_at, sizes)
    for t in range(len(sizes)):
        if t > 0:
            gates_at[t].addmm_(h_on[t - 1], weight_t)
        gates_at[t].sigmoid_()
        torch.add(minus_one, g_at[t], alpha=2, out=g_at[t])
        torch.mul(i_at[t], g_at[t], out=c_at[t])
        if t > 0:
            c_at[t].addcmul_(f_at[t], c_on[t - 1])
        torch.tanh(c_at[t], out=tanh_at[t])
        torch.mul(o_at[t], tanh_at[t], out=h_at[t])
    return h, c, gates, tanh_c


def gradient(
    h_out: Tensor | None,
    c_out: Tensor | None,
    a_out: Tensor | None,
    place: Tensor,
    weight: Tensor,
    h: Tensor,
    c: Tensor,
    gates: Tensor,
    tanh_c: Tensor,
    words: int,
    sizes: list[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x' [words, 4H], W', a' [rows, 4H], h' and c' [rows, H]."""
    items, hidden = sizes[0], weight.shape[1]
    slopes, slope_h = slopes_of(c, gates, tanh_c, sizes)
    # what arrives from outside; the loop adds what arrives from the step after
    alone = c_out is None and a_out is None
    dh = torch.zeros_like(h) if h_out is None else h_out.clone(memory_format=torch.contiguous_format)
    dc, da = torch.empty_like(c), torch.empty_like(gates)
    if not alone:
        dc = torch.zeros_like(c) if c_out is None else c_out.clone(memory_format=torch.contiguous_format)
        da = torch.zeros_like(gates) if a_out is None else a_out.clone(memory_format=torch.contiguous_format)
    dh_at, dc_at, da_at, k_at = dh.split(sizes), dc.split(sizes), da.split(sizes), slope_h.split(sizes)
    # the gates that act on c and the one that acts on h
    da_wide, slopes_wide = da.view(-1, 4, hidden), slopes.view(-1, 4, hidden)
    da_c_at, slope_c_at = da_wide[:, :3].split(sizes), slopes_wide[:, :3].split(sizes)
    da_h_at, slope_h_at = da_wide[:, 3].split(sizes), slopes_wide[:, 3].split(sizes)
    dc_wide_at, f_at = dc.unsqueeze(1).split(sizes), gates[:, hidden : 2 * hidden].split(sizes)
    dh_on, dc_on = going_on(dh_at, sizes), going_on(dc_at, sizes)
    last = len(sizes) - 1
    for back in range(len(sizes)):
        t = last - back
        if t < last:
            dh_on[t].addmm_(da_at[t + 1], weight)
        if alone:
            torch.mul(dh_at[t], k_at[t], out=dc_at[t])
        else:
            dc_at[t].addcmul_(dh_at[t], k_at[t])
        if t < last:
            dc_on[t].addcmul_(dc_at[t + 1], f_at[t + 1])
        if alone:
            torch.mul(dc_wide_at[t], slope_c_at[t], out=da_c_at[t])
            torch.mul(dh_at[t], slope_h_at[t], out=da_h_at[t])
        else:
            da_c_at[t].addcmul_(dc_wide_at[t], slope_c_at[t])
            da_h_at[t].addcmul_(dh_at[t], slope_h_at[t])
    dx = torch.zeros([words, 4 * hidden], dtype=da.dtype, device=da.device).index_add_(0, place, da)
    return dx, torch.mm(da[items:].t(), before(h, sizes)), da, dh, dc


def gradient_of_gradient(
    x_out: Tensor | None,
    weight_out: Tensor | None,
    place: Tensor,
    weight: Tensor,
    h: Tensor,
    c: Tensor,
    gates: Tensor,
    tanh_c: Tensor,
    da: Tensor,
    dh: Tensor,
    dc: Tensor,
    sizes: list[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Cotangents of H' [rows, H], W [4H, H], h, c [rows, H] and a [rows, 4H]."""
    items = sizes[0]
    a = torch.zeros_like(da) if x_out is None else x_out.index_select(0, place)
    h_out = torch.zeros_like(dh)
    if weight_out is not None:
        a[items:].addmm_(before(h, sizes), weight_out.t())
        add_before(h_out, torch.mm(da[items:], weight_out), sizes)
    slopes, slope_h = slopes_of(c, gates, tanh_c, sizes)
    p, q = torch.empty_like(dh), torch.empty_like(dc)
    weight_t = weight.t().contiguous()
    i, f, g, o = gates.chunk(4, 1)
    a_i, a_f, a_g, a_o = a.chunk(4, 1)
    k_i, k_f, k_g, k_o = slopes.chunk(4, 1)
    a_at, p_at, q_at, k_at, f_at = a.split(sizes), p.split(sizes), q.split(sizes), slope_h.split(sizes), f.split(sizes)
    a_i_at, a_f_at, a_g_at, a_o_at = a_i.split(sizes), a_f.split(sizes), a_g.split(sizes), a_o.split(sizes)
    k_i_at, k_f_at, k_g_at, k_o_at = k_i.split(sizes), k_f.split(sizes), k_g.split(sizes), k_o.split(sizes)
    p_on, q_on = going_on(p_at, sizes), going_on(q_at, sizes)
    for t in range(len(sizes)):
        if t > 0:
            a_at[t].addmm_(p_on[t - 1], weight_t)
        torch.mul(a_i_at[t], k_i_at[t], out=q_at[t])
        q_at[t].addcmul_(a_g_at[t], k_g_at[t])
        if t > 0:
            q_at[t].addcmul_(a_f_at[t], k_f_at[t])
            q_at[t].addcmul_(q_on[t - 1], f_at[t])
        torch.mul(q_at[t], k_at[t], out=p_at[t])
        p_at[t].addcmul_(a_o_at[t], k_o_at[t])
    dweight = torch.mm(da[items:].t(), before(p, sizes))
    c_out, a_out = through_slopes(a, q, gates, tanh_c, da, dh, dc, slope_h, sizes)
    return p, dweight, h_out, c_out, a_out


def slopes_of(c: Tensor, gates: Tensor, tanh_c: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor]:
    """K [rows, 4H] and k [rows, H]."""
    items = sizes[0]
    slopes, slope_h = torch.empty_like(gates), torch.empty_like(c)
    i, f, g, o = gates.chunk(4, 1)
    to_i, to_f, to_g, to_o = slopes.chunk(4, 1)
    # sigmoid_backward(z, s) is z s (1-s), tanh_backward(z, t) is z (1-t^2)
    torch.ops.aten.sigmoid_backward(g, i, grad_input=to_i)
    to_f[:items].zero_()  # nothing to forget before the first step
    torch.ops.aten.sigmoid_backward(before(c, sizes), f[items:], grad_input=to_f[items:])
    torch.ops.aten.tanh_backward(i, g, grad_input=to_g)
    torch.ops.aten.sigmoid_backward(tanh_c, o, grad_input=to_o)
    torch.ops.aten.tanh_backward(o, tanh_c, grad_input=slope_h)
    return slopes, slope_h


def through_slopes(
    a: Tensor,
    q: Tensor,
    gates: Tensor,
    tanh_c: Tensor,
    da: Tensor,
    dh: Tensor,
    dc: Tensor,
    slope_h: Tensor,
    sizes: list[int],
) -> tuple[Tensor, Tensor]:
    """Cotangents of c [rows, H] and a [rows, 4H], by way of K, k and the f that carries c'.

    Those of K are A * (c', c', c', h'), of k q * h', of f q_{t-1} * c'. As a' = (c', c', c', h') * K, each one of K's
    times K itself is P = A * a'.
    """
    items, hidden = sizes[0], q.shape[1]
    i, f, g, o = gates.chunk(4, 1)
    a_i, a_f, a_g, a_o = a.chunk(4, 1)
    along = a * da
    along_g, da_g = along[:, 2 * hidden : 3 * hidden], da[:, 2 * hidden : 3 * hidden]
    dh_k = dh * slope_h
    a_out = torch.addcmul(along, along, gates, value=-2)  # for i, f and o, K (1-2s) is the slope of K along a
    i_out, f_out, g_out, o_out = a_out.chunk(4, 1)
    i_out.add_(along_g).addcmul_(along_g, i, value=-1)  # K_g along i's a: K_g (1-i)
    g_out.sub_(along_g)  # K_g along its own: -2 g K_g
    rest = torch.addcmul(a_i, a_i, i, value=-1)
    g_out.addcmul_(rest, da_g)  # K_i along g's: K_g (1-i)
    torch.mul(dh_k, q, out=rest)
    o_out.add_(rest).addcmul_(rest, o, value=-1)  # k along o's: k (1-o)
    # along c: of K_o k (1-o), of k -2 k tanh c
    torch.addcmul(a_o, a_o, o, value=-1, out=rest)
    c_out = rest.addcmul_(tanh_c, q, value=-2).mul_(dh_k)
    through_f = torch.ops.aten.sigmoid_backward(dc[items:], f[items:])
    f_out[items:].addcmul_(through_f, before(q, sizes))
    add_before(c_out, through_f.mul_(a_f[items:]), sizes)
    return c_out, a_out


def going_on(at: list[Tensor], sizes: list[int]) -> list[Tensor]:
    """For each step but the last, its rows of the texts that have a next step."""
    return [at[t] if sizes[t] == sizes[t + 1] else at[t][: sizes[t + 1]] for t in range(len(sizes) - 1)]


def before(z: Tensor, sizes: list[int]) -> Tensor:
    """For each row after the first step, the row of the same text one step earlier."""
    if sizes[0] == sizes[-1]:
        return z[: len(z) - sizes[0]]
    return torch.cat(going_on(z.split(sizes), sizes))


def add_before(z: Tensor, more: Tensor, sizes: list[int]) -> None:
    """Adds `more`, a row for each row after the first step, to the rows of `z` one step earlier."""
    if sizes[0] == sizes[-1]:
        z[: len(more)].add_(more)
    else:
        on, more_at = going_on(z.split(sizes), sizes), more.split(sizes[1:])
        for t in range(len(on)):
            on[t].add_(more_at[t])
