"""One Transformer layer of one task, with a second derivative that costs about as much as the first.

Vaswani et al. (2017), arXiv:1706.03762, section 3, normalised after each sum, as torch.nn.TransformerEncoderLayer. With
x [length * items, dim], N the normalisation to mean 0 and variance 1 over dim, and heads side by side in o:

    (q, k, v) = x W_in^T + b_in        p = softmax(q k^T / sqrt(dim / heads) + mask)    o = p v
    u = x + o W_out^T + b_out          x1 = N(u) * g1 + c1
    r = relu(x1 W1^T + b1)             y = x1 + r W2^T + b2            x2 = N(y) * g2 + c2

Write dz for the derivative of the loss along z. `_Gradient` takes dx2 to dx and the weights' derivatives. Its own
derivative, along cotangents X of dx and U of the weights', is found as in `recurrence`: the cotangent of dx2 is z' of
x2, where z' is the tangent of z when (x, weights) move along (X, U); cotangents of the weights and of the layer's
intermediate values follow from z' and dz by one product each, for instance dr U2 for r. The latter go back to the layer
as cotangents of its outputs, where they join the cotangent that reaches x2 through the rest of the network, so that one
backward pass serves both. In all, a gradient of a gradient takes nine products for each of the layer's own.

Two formulas are worth a line. For softmax, with a = s' - sum(p * s') and b = dp - sum(p * dp) over the keys, so that
p' = p * a and ds = p * b: the cotangent of p is a * b, up to what is the same for all keys, which softmax ignores. For
the normalisation n = N(u), with e its reciprocal standard deviation, m the mean over dim and w = dn:

    J z = e (z - m(z) - n m(n z))      n' = J u'      du = J w
    the cotangent of u, beside J of dn's: - e m(n u') du - e (n' m(n w) + n m(n' w))
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

EPSILON = 1e-5  # torch.nn.TransformerEncoderLayer's
NORM_BACKWARD = torch.ops.aten.native_layer_norm_backward
RELU_BACKWARD = torch.ops.aten.threshold_backward.grad_input
SOFTMAX_BACKWARD = torch.ops.aten._softmax_backward_data
THIRD = "metalingua.model.layer.twice has two derivatives; a third was asked for"


class Weights(NamedTuple):
    """Of one layer, named as torch.nn.TransformerEncoderLayer's."""

    in_weight: Tensor  # [3 dim, dim]
    in_bias: Tensor
    out_weight: Tensor  # [dim, dim]
    out_bias: Tensor
    weight1: Tensor  # [ffn, dim]
    bias1: Tensor
    weight2: Tensor  # [dim, ffn]
    bias2: Tensor
    gain1: Tensor
    shift1: Tensor
    gain2: Tensor
    shift2: Tensor


def plain(x: Tensor, mask: Tensor, weights: Weights, heads: int) -> Tensor:
    """As `twice`, by torch's own derivatives: for any number of them, any device, torch.vmap and autocast."""
    w, dim = weights, x.shape[1]
    q, k, v = (
        z.reshape(mask.shape[2], len(mask), dim // heads).transpose(0, 1)  # [items * heads, length, dim / heads]
        for z in F.linear(x, w.in_weight, w.in_bias).chunk(3, 1)
    )
    p = (torch.bmm(q * (dim // heads) ** -0.5, k.transpose(1, 2)) + mask).softmax(2)
    o = torch.bmm(p, v).transpose(0, 1).reshape(x.shape)
    x1 = norm(x + F.linear(o, w.out_weight, w.out_bias), w.gain1, w.shift1)
    r = F.linear(x1, w.weight1, w.bias1).relu()
    return norm(x1 + F.linear(r, w.weight2, w.bias2), w.gain2, w.shift2)


def norm(u: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """N(u) * gain + shift, for u [rows, dim], by torch's own derivatives."""
    # Gain and shift apart: in torch 2.13 the second derivative of a layer_norm that has them is wrong when torch.vmap
    # runs between the two derivatives (tests/model/test_layer.py).
    return F.layer_norm(u, u.shape[1:], eps=EPSILON) * gain + shift


def twice(x: Tensor, mask: Tensor, weights: Weights, heads: int) -> Tensor:
    """[length * items, dim] from x [length * items, dim], the texts' first tokens first.

    mask  [items * heads, 1 or length, length]: 0 where a token (any, if 1) may read a key, else -inf

    Differentiable twice with respect to `x` and `weights`, by torch.autograd and by torch.func. torch.vmap is a loop.
    Raises RuntimeError when a third derivative is asked for.
    """
    return _Layer.apply(x, mask, heads, *weights)[0]


class _ForOneTask(Function):
    """Written for one task, whose buffers it overwrites; torch.vmap calls it once a task."""

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        tasks = [
            cls.apply(*(z if dim is None else z.select(dim, i) for z, dim in zip(args, in_dims, strict=True)))
            for i in range(info.batch_size)
        ]
        stacked = tuple(torch.stack(each) for each in zip(*tasks, strict=True))
        return stacked, (0,) * len(stacked)


class _Layer(_ForOneTask):
    """(x, mask, heads, weights) -> x2, and the intermediate values that its derivatives are made of."""

    @staticmethod
    def forward(*values: Any) -> tuple[Tensor, ...]:  # named arguments cost what a small product does, to look them up
        x, mask, heads, w = *values[:3], Weights(*values[3:])
        qkv = torch.baddbmm(_three(w.in_bias.unsqueeze(1)), x.expand(3, *x.shape), _three(w.in_weight).transpose(1, 2))
        qkv[0].mul_((x.shape[1] // heads) ** -0.5)
        qkv = _split(qkv, mask)
        q, k, v = qkv.unbind(0)
        p = torch.baddbmm(mask, q, k.transpose(1, 2)).softmax(2)
        o = _joined(torch.bmm(p, v), x)
        u = torch.addmm(x, o, w.out_weight.t()).add_(w.out_bias)
        x1, mean1, scale1 = torch.native_layer_norm(u, u.shape[1:], w.gain1, w.shift1, EPSILON)
        r = torch.mm(x1, w.weight1.t()).add_(w.bias1).relu_()
        y = torch.addmm(x1, r, w.weight2.t()).add_(w.bias2)
        x2, mean2, scale2 = torch.native_layer_norm(y, y.shape[1:], w.gain2, w.shift2, EPSILON)
        return x2, qkv, p, o, u, x1, r, y, mean1, scale1, mean2, scale2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, _, _, *weights = inputs
        ctx.mark_non_differentiable(*output[8:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, *weights, *output[1:])

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        if all(z is None for z in cotangents):
            return (None,) * 15
        dx, *dweights = _Gradient.apply(*cotangents[:8], *ctx.saved_tensors)[:13]
        return dx, None, None, *dweights


class _Gradient(_ForOneTask):
    """(cotangents of x2 and the intermediate values, x, weights, intermediate values) -> dx, dweights, and what their
    derivative needs.
    """

    @staticmethod
    def forward(*values: Any) -> tuple[Tensor, ...]:
        dx2, qkv_out, p_out, o_out, u_out, x1_out, r_out, y_out, x = values[:9]
        w = Weights(*values[9:21])
        qkv, p, o, u, x1, r, y, mean1, scale1, mean2, scale2 = values[21:]
        q, k, v = qkv.unbind(0)
        if dx2 is None:
            dx2 = torch.zeros_like(x)
        dy, dgain2, dshift2 = _norm_gradient(dx2, y, mean2, scale2, w.gain2, w.shift2, y_out)
        dh = _relu_gradient_(_plus_mm(r_out, dy, w.weight2), r)
        dx1 = torch.addmm(dy, dh, w.weight1)
        if x1_out is not None:
            dx1.add_(x1_out)
        du, dgain1, dshift1 = _norm_gradient(dx1, u, mean1, scale1, w.gain1, w.shift1, u_out)
        do = _plus_mm(o_out, du, w.out_weight)
        do_split = _split(do.unsqueeze(0), p)[0]
        dp = _plus_bmm(p_out, do_split, v.transpose(1, 2))
        ds = SOFTMAX_BACKWARD(dp, p, 2, p.dtype)
        q_out, k_out, v_out = (None,) * 3 if qkv_out is None else qkv_out.unbind(0)
        da = x.new_empty(3, *x.shape)
        dq, dk, dv = _split(da, p).unbind(0)
        dq.copy_(_plus_bmm(q_out, ds, k)).mul_(q.shape[2] ** -0.5)
        dk.copy_(_plus_bmm(k_out, ds.transpose(1, 2), q))
        dv.copy_(_plus_bmm(v_out, p.transpose(1, 2), do_split))
        dweights = Weights(
            in_weight=torch.bmm(da.transpose(1, 2), x.expand_as(da)).flatten(0, 1),
            in_bias=da.sum(1).flatten(),
            out_weight=torch.mm(du.t(), o),
            out_bias=du.sum(0),
            weight1=torch.mm(dh.t(), x1),
            bias1=dh.sum(0),
            weight2=torch.mm(dy.t(), r),
            bias2=dy.sum(0),
            gain1=dgain1,
            shift1=dshift1,
            gain2=dgain2,
            shift2=dshift2,
        )
        return _back(da, w.in_weight, du), *dweights, da, dp, ds, do, du, dx1, dh, dy

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.from_second = any(z is not None for z in inputs[1:8])
        ctx.mark_non_differentiable(*output[13:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inputs[0], *inputs[8:], *output[13:])

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        if ctx.from_second:
            raise RuntimeError(THIRD)
        values = ctx.saved_tensors
        along = [torch.zeros_like(z) if a is None else a for a, z in zip(cotangents[:13], values[1:14], strict=True)]
        dx2, x, w_in, w_out, w1, w2, gain1, gain2, *others = _GradientOfGradient.apply(*along, *values)
        weights = w_in, None, w_out, None, w1, None, w2, None, gain1, None, gain2, None
        # nothing came from outside when this was the gradient, so nothing goes back there; nor to means and scales
        return dx2, *(None,) * 7, x, *weights, *others, *(None,) * 4


class _GradientOfGradient(_ForOneTask):
    """(cotangents of dx and dweights, dx2, x, weights, intermediate values, what `_Gradient` left) -> cotangents of
    (dx2, x, weights, intermediate values).

    The derivative of this one would be a third: it raises when autograd passes it.
    """

    @staticmethod
    def forward(*values: Tensor) -> tuple[Tensor, ...]:
        x_out, t, dx2, x, w = values[0], Weights(*values[1:13]), values[13], values[14], Weights(*values[15:27])
        qkv, p, o, u, x1, r, y, mean1, scale1, mean2, scale2, da, dp, ds, do, du, dx1, dh, dy = values[27:]
        q, k, v = qkv.unbind(0)
        do_split = _split(do.unsqueeze(0), p)[0]
        # tangents, upwards
        qkv_t = torch.bmm(x_out.expand(3, *x.shape), _three(w.in_weight).transpose(1, 2))
        qkv_t.baddbmm_(x.expand(3, *x.shape), _three(t.in_weight).transpose(1, 2)).add_(_three(t.in_bias.unsqueeze(1)))
        qkv_t[0].mul_(q.shape[2] ** -0.5)
        q_t, k_t, v_t = _split(qkv_t, p).unbind(0)
        a = torch.bmm(q_t, k.transpose(1, 2)).baddbmm_(q, k_t.transpose(1, 2))
        a.sub_((p * a).sum(2, keepdim=True))
        p_t = p * a
        o_t = _joined(torch.bmm(p_t, v).baddbmm_(p, v_t), x)
        u_t = torch.addmm(x_out, o_t, w.out_weight.t()).addmm_(o, t.out_weight.t()).add_(t.out_bias)
        x1_t, gain1, u_out = _norm_second(u_t, t.gain1, t.shift1, dx1, du, u, mean1, scale1, w.gain1)
        h_t = torch.mm(x1_t, w.weight1.t()).addmm_(x1, t.weight1.t()).add_(t.bias1)
        r_t = _relu_gradient_(h_t, r)
        y_t = torch.addmm(x1_t, r_t, w.weight2.t()).addmm_(r, t.weight2.t()).add_(t.bias2)
        x2_t, gain2, y_out = _norm_second(y_t, t.gain2, t.shift2, dx2, dy, y, mean2, scale2, w.gain2)
        # cotangents
        qkv_out = x.new_empty(qkv.shape)
        torch.bmm(ds, k_t, out=qkv_out[0])
        torch.bmm(ds.transpose(1, 2), q_t, out=qkv_out[1])
        torch.bmm(p_t.transpose(1, 2), do_split, out=qkv_out[2])
        sums = (do * o).view(-1, len(p), v.shape[2]).sum(2).t().unsqueeze(2)  # that of p * dp over the keys
        p_out = torch.sub(dp, sums).mul_(a).baddbmm_(do_split, v_t.transpose(1, 2))
        return (
            x2_t,
            _back(da, t.in_weight, None),
            torch.bmm(da.transpose(1, 2), x_out.expand_as(da)).flatten(0, 1),
            torch.mm(du.t(), o_t),
            torch.mm(dh.t(), x1_t),
            torch.mm(dy.t(), r_t),
            gain1,
            gain2,
            qkv_out,
            p_out,
            torch.mm(du, t.out_weight),
            u_out,
            torch.mm(dh, t.weight1),
            torch.mm(dy, t.weight2),
            y_out,
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> None:
        raise RuntimeError(THIRD)


def _three(z: Tensor) -> Tensor:
    """[3 n, m] as [3, n, m]; a bias [3 n, 1] as [3, 1, n]."""
    return z.view(3, 1, -1) if z.shape[1] == 1 else z.view(3, -1, z.shape[1])


def _split(z: Tensor, like: Tensor) -> Tensor:
    """[parts, length * items, dim] as [parts, items * heads, length, dim / heads], a view.

    like  [items * heads, ., length]
    """
    return z.view(len(z), like.shape[2], len(like), -1).transpose(1, 2)


def _joined(z: Tensor, x: Tensor) -> Tensor:
    """[items * heads, length, dim / heads] as [length * items, dim], the shape of x."""
    return z.transpose(0, 1).reshape(x.shape)


def _back(da: Tensor, weight: Tensor, more: Tensor | None) -> Tensor:
    """[length * items, dim]: da [3, length * items, dim] through the weight [3 dim, dim] of q, k and v, plus more."""
    q, k, v = _three(weight).unbind(0)
    return (torch.mm(da[0], q) if more is None else torch.addmm(more, da[0], q)).addmm_(da[1], k).addmm_(da[2], v)


def _plus_mm(z: Tensor | None, one: Tensor, other: Tensor) -> Tensor:
    """z + one @ other, in place. The z that are given are `_GradientOfGradient`'s alone."""
    return torch.mm(one, other) if z is None else z.detach().addmm_(one, other)


def _plus_bmm(z: Tensor | None, one: Tensor, other: Tensor) -> Tensor:
    return torch.bmm(one, other) if z is None else z.detach().baddbmm_(one, other)


def _relu_gradient_(d: Tensor, r: Tensor) -> Tensor:
    """d where r > 0, else 0, in place."""
    return RELU_BACKWARD(d, r, 0, grad_input=d)


def _norm_gradient(
    d: Tensor, u: Tensor, mean: Tensor, scale: Tensor, gain: Tensor, shift: Tensor, u_out: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """du, and the derivatives along gain and shift, of N(u) * gain + shift, given its own derivative d."""
    du, dgain, dshift = NORM_BACKWARD(d, u, u.shape[1:], mean, scale, gain, shift, [True, True, True])
    return du if u_out is None else du.add_(u_out), dgain, dshift


def _norm_second(
    u_t: Tensor,
    gain_t: Tensor,
    shift_t: Tensor,
    d: Tensor,
    du: Tensor,
    u: Tensor,
    mean: Tensor,
    scale: Tensor,
    gain: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Of N(u) * gain + shift: its tangent, the cotangent of gain, and the one of u."""

    def projected(z: Tensor, gain: Tensor | None) -> Tensor:  # J (z * gain)
        return NORM_BACKWARD(z, u, u.shape[1:], mean, scale, gain, None, [True, False, False])[0]

    n, n_t = torch.sub(u, mean).mul_(scale), projected(u_t, None)
    # the last one is m(n' w) too: J is symmetric
    along_u, along_w, along_w_t = (z.mean(1, keepdim=True).mul_(-scale) for z in (n * u_t, d * gain * n, du * u_t))
    u_out = projected(d, gain_t).addcmul_(along_u, du).addcmul_(along_w, n_t).addcmul_(along_w_t, n)
    gain_out = (d * n_t).sum(0)
    return n.mul_(gain_t).add_(shift_t).addcmul_(n_t, gain), gain_out, u_out
