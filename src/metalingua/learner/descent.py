"""Gradient descent on a support set: the inner loop of every gradient-based learner."""

from collections.abc import Iterator

import torch

from metalingua.model.model import Model, Params
from metalingua.task.episode import Examples


def descent(
    model: Model, params: Params, support: Examples, *, steps: int, step_size: float, order: int
) -> Iterator[Params]:
    """The parameters after 0, 1, ... `steps` of theta <- theta - step_size * grad L(theta; support).

    Finn et al. (2017), eq. 1. The last one is what adapting gives.

    params     read, never written. Moved: the encoder and the head of the support's problem; the rest is not returned
    step_size  alpha of the paper, parameter units per gradient unit
    order      2 keeps the graph of the gradients; 1 drops it (section 5.2), keeping the identity path through `params`
    yields     same shapes as given; differentiable with respect to `params` if grad mode is on, else detached
    """
    outer = torch.is_grad_enabled()
    names = model.names(params, support.problem)
    fast = {name: params[name] if outer else params[name].detach() for name in names}
    yield fast
    for _ in range(steps):
        with torch.enable_grad():
            here = {k: v if outer and v.requires_grad else v.detach().requires_grad_() for k, v in fast.items()}
            loss = support.problem.loss(model.outputs(here, support.inputs, support.problem), support.targets)
            grads = torch.autograd.grad(loss, list(here.values()), create_graph=outer and order == 2)
        fast = {name: value - step_size * grad for (name, value), grad in zip(fast.items(), grads, strict=True)}
        yield fast
