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
What is left is elementwise: cotangents of c and of the gates' a, through K, k and f. They go back to the recurrence as
cotangents of its outputs, where they join the cotangent that reaches h through the rest of the network, so that one
backward loop serves both. In all, a gradient of a gradient takes four loops, each with one product by W per step;
everything else is done for all steps at once.

Texts of different lengths are packed, as in torch.nn.utils.rnn: texts in order of falling length, the rows of one
step together, and only the `sizes[t]` texts that reach step t have a row there. Nothing is computed for padding. A word
that occurs often has one x, which its rows share.
"""

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from metalingua.model import loops, native
from metalingua.model.script import scripted

_forward = scripted(loops.forward)
_gradient = scripted(loops.gradient)
_gradient_of_gradient = scripted(loops.gradient_of_gradient)


def init(inputs: int, hidden: int, generator: torch.Generator) -> dict[str, Tensor]:
    """New weights of one layer, float32; a pure function of the generator's state.

    weight_ih [4 hidden, inputs], weight_hh [4 hidden, hidden]: U(-1/sqrt(hidden), 1/sqrt(hidden)), as torch.nn.LSTM;
    gates in its order (input, forget, cell, output).
    bias [4 hidden]: 0, and 1 for the forget gate (Jozefowicz et al. 2015), so that what was read is remembered from the
    start. torch.nn.LSTM's two biases only ever occur as their sum.
    """
    bound = 1 / math.sqrt(hidden)
    bias = torch.zeros(4 * hidden)
    bias[hidden : 2 * hidden] = 1
    return {
        "weight_ih": torch.empty(4 * hidden, inputs).uniform_(-bound, bound, generator=generator),
        "weight_hh": torch.empty(4 * hidden, hidden).uniform_(-bound, bound, generator=generator),
        "bias": bias,
    }


def lstm(x: Tensor, place: Tensor, weight: Tensor, sizes: Sequence[int]) -> Tensor:
    """States h of every text at every step, packed, [rows, H]; the state before the first step is 0.

    x       [words, 4H], input projection plus bias of every word that occurs; gates in the order i, f, g, o
    place   [rows] int64, packed: where in `x` each row's word is
    weight  [4H, H], recurrent weight
    sizes   rows of each step: never rising, the first is the number of texts, their sum is rows

    Differentiable twice with respect to `x` and `weight`, by torch.autograd and by torch.func.grad.
    Raises RuntimeError when a third derivative is asked for.
    """
    return _Recurrence.apply(x, place, weight.to(x.dtype), list(sizes))[0]


def _as_given(z: Tensor) -> torch.autocast:
    """The loops compute in the precision of their arguments: TorchScript would cast some of them and not others."""
    return torch.autocast(z.device.type, enabled=False)


class _Recurrence(Function):
    """(x, place, weight) -> h, c, gates, and tanh c, a constant to autograd: its cotangent is counted with c's.

    The cotangent of gates is one of a, from which they follow: so the slope of the gates is nowhere computed twice.
    """

    @staticmethod
    def forward(x: Tensor, place: Tensor, weight: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
        with _as_given(x):
            run = native.forward if native.serves(x, weight.shape[1]) else _forward
            return run(x, place, weight, sizes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, place, weight, ctx.sizes = inputs
        ctx.words = len(x)
        ctx.mark_non_differentiable(output[3])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(place, weight, *output)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        if all(z is None for z in cotangents):
            return None, None, None, None
        keep = torch.is_grad_enabled()  # this gradient will itself be differentiated
        dx, dweight = _Gradient.apply(*cotangents[:3], *ctx.saved_tensors, ctx.words, ctx.sizes, keep)[:2]
        return dx, None, dweight, None


class _Gradient(Function):
    """(cotangents of h, c and a, place, weight, h, c, gates, tanh c) -> x', weight', and the constants a', h', c'."""

    @staticmethod
    def forward(
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
        keep: bool,
    ) -> tuple[Tensor, ...]:
        given = h_out, c_out, a_out, place, weight, h, c, gates, tanh_c, words, sizes
        with _as_given(h):
            return native.gradient(*given, keep) if native.serves(h, weight.shape[1]) else _gradient(*given)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        *_, place, weight, h, c, gates, tanh_c, _, ctx.sizes, _ = inputs
        ctx.mark_non_differentiable(*output[2:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(place, weight, h, c, gates, tanh_c, *output[2:])

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        h_out, weight, h, c, a = _GradientOfGradient.apply(*cotangents[:2], *ctx.saved_tensors, ctx.sizes)
        return h_out, None, None, None, weight, h, c, a, None, None, None, None


class _GradientOfGradient(Function):
    """Cotangents of (x', weight') -> cotangents of (cotangent of h, weight, h, c, a).

    The cotangents of c and a that `_Gradient` also takes come from here alone, so they need no derivative: it would be
    a third, and this class raises when autograd passes it.
    """

    @staticmethod
    def forward(
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
    ) -> tuple[Tensor, ...]:
        with _as_given(h):
            run = native.gradient_of_gradient if native.serves(h, weight.shape[1]) else _gradient_of_gradient
            return run(x_out, weight_out, place, weight, h, c, gates, tanh_c, da, dh, dc, sizes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> None:
        raise RuntimeError("metalingua.model.recurrence.lstm has two derivatives; a third was asked for")


for _each in (_Recurrence, _Gradient, _GradientOfGradient):
    _forward_of: Any = _each.forward
    _forward_of.__signature__ = inspect.signature(_forward_of)  # torch asks for it at every call
