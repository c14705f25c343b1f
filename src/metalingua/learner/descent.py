"""Descent on a support set: the inner loop of every gradient-based learner."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor

from metalingua.learner.inner import Inner
from metalingua.model.derivative import transformed
from metalingua.model.model import Model, Params
from metalingua.task.episode import Examples

Loss = Callable[[Params], Tensor]  # of the parameters that move
Update = Callable[
    [Params, Params, Tensor, Any], tuple[Params, Any]
]  # (params, grads, loss, memory) -> (params, memory)


def descent(loss: Loss, params: Params, update: Update, *, steps: int, order: int) -> Iterator[Params]:
    """The parameters after 0, 1, ... `steps` updates. The last ones are what adapting gives.

    loss     of the support set, a scalar; called with the names of `params`
    params   those that move; read, never written
    update   makes the next parameters of the present ones, their gradients and their loss. `memory` is its own, None
             at first
    order    2 keeps the graph of the gradients; 1 drops it (Finn et al. 2017, section 5.2), keeping the identity path
             through `params`
    yields   the names and shapes of `params`; differentiable with respect to them if grad mode is on, else detached
    """
    outer = torch.is_grad_enabled()
    fast = params if outer else {name: value.detach() for name, value in params.items()}
    memory: Any = None
    yield fast
    for _ in range(steps if fast else 0):  # all may be frozen
        grads, at = (_transformed if transformed() else _gradients)(loss, fast, outer and order == 2)
        fast, memory = update(fast, grads, at, memory)
        yield fast


def _gradients(loss: Loss, fast: Params, keep: bool) -> tuple[Params, Tensor]:
    """The gradients at `fast` and the loss; with the graph of both if `keep`."""
    outer = torch.is_grad_enabled()
    with torch.enable_grad():
        here = {k: v if outer and v.requires_grad else v.detach().requires_grad_() for k, v in fast.items()}
        at = loss(here)
        found = torch.autograd.grad(at, list(here.values()), create_graph=keep, allow_unused=True)
    grads = {
        k: torch.zeros_like(v) if grad is None else grad for (k, v), grad in zip(fast.items(), found, strict=True)
    }  # fmt: skip
    return grads, at if keep else at.detach()


def _transformed(loss: Loss, fast: Params, keep: bool) -> tuple[Params, Tensor]:
    """As `_gradients`, under a transform of torch.func."""
    with torch.set_grad_enabled(keep):
        return torch.func.grad_and_value(loss)(fast if keep else {k: v.detach() for k, v in fast.items()})


def stepping(inner: Inner, step_size: float) -> Update:
    """theta <- theta - step_size * direction, with the directions of `inner`."""

    def update(params: Params, grads: Params, loss: Tensor, memory: Any) -> tuple[Params, Any]:
        directions, memory = inner.directions(grads, memory)
        return {k: torch.add(v, directions[k], alpha=-step_size) for k, v in params.items()}, memory

    return update


def support_loss(model: Model, params: Params, support: Examples, moves: Iterable[str] | None = None) -> Loss:
    """The loss of `support` as a function of the parameters that move; `params` has the others.

    moves   their names: where none is the encoder's, features are worked out once. None: any may move
    """
    problem = support.problem
    if moves is not None and not any(
        name.startswith("encoder.") for name in moves
    ):  # the features are the same at every step
        features = model.features(params, support.inputs)
        return lambda fast: problem.loss(model.answers({**params, **fast}, features, problem), support.targets)
    return lambda fast: problem.loss(model.outputs({**params, **fast}, support.inputs, problem), support.targets)


def moving(names: Sequence[str], frozen: Sequence[str]) -> list[str]:
    """The `names` that no pattern of `frozen` matches (as a shell matches: "encoder.*"), in their order."""
    return [name for name in names if not any(fnmatchcase(name, pattern) for pattern in frozen)]
