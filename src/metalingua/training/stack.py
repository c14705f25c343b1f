"""Episodes of one shape as one: torch.vmap over what a learner does with one of them. For accelerators.

One task leaves a GPU idle; a stack of them is one large kernel where a loop is many small ones. On a CPU the engine's
threads win: a large batch of tasks overflows the caches.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from metalingua.learner.learner import Learner
from metalingua.model.derivative import derivatives
from metalingua.model.model import Model, Params
from metalingua.task.episode import Episode, Examples
from metalingua.text.batch import Inputs
from metalingua.training.device import device_of

Run = Callable[[Params, Episode], Any]  # of one task: tensors, in tuples and dicts
PARTS = ("tokens", "lengths", "frequency", "at", "second")  # of inputs: the tensors that another episode has its own of


@dataclass(frozen=True)
class Stack:
    """Episodes of one problem, with as many support and as many query texts, and no noise or the same."""

    places: list[int]  # of its episodes in the batch they come from
    one: Episode  # the first of them: what all have in common
    tensors: tuple[Tensor, ...]  # [tasks, ...], as `_tensors` orders them

    def run(self, function: Run, model: Model, params: Params) -> Any:
        """`function` of every episode and its part of `params`, in one: what it gives, with a first axis of tasks.

        Differentiable with respect to `params`. Every task draws its own random numbers, as in a loop.
        """
        rows = {name for name in params if name.endswith(model.rows)}
        local = {name: value[self.tensors[0]] if name in rows else value for name, value in params.items()}
        of_task = {name: 0 if name in rows else None for name in params}

        def one(mine: Params, tensors: tuple[Tensor, ...]) -> Any:
            return function(mine, _with(self.one, tensors))

        return torch.vmap(one, (of_task, 0), randomness="different")(local, self.tensors)


def stacks(episodes: Sequence[Episode], device: torch.device) -> list[Stack]:
    """`episodes` by their problem and sizes, on `device`; in each stack padded to its longest text."""
    kinds: dict[Any, list[int]] = {}
    for place, episode in enumerate(episodes):
        halves = (episode.support.inputs, episode.query.inputs)
        named = episode.support.names is not None
        # noise is one for a whole batch: episodes with their own cannot be one
        key = episode.support.problem, named, *((len(half), len(half.lengths), half.noise) for half in halves)
        kinds.setdefault(key, []).append(place)
    return [_stacked(places, [episodes[i] for i in places], device) for places in kinds.values()]


def stacked_losses(model: Model, params: Params, episodes: Sequence[Episode],
                   episode_loss: Callable[[Model, Params, Episode], Tensor], order: int) -> Tensor:  # fmt: skip
    """`episode_loss` of every episode, [episodes], in their order; differentiable with respect to `params`."""
    found: list[Tensor] = []
    places: list[int] = []
    with derivatives(order, transformed=True):
        for stack in stacks(episodes, device_of(params)):
            found.append(stack.run(lambda mine, episode: episode_loss(model, mine, episode), model, params))
            places += stack.places
    return torch.cat(found)[torch.tensor(places, device=found[0].device).argsort()]


def stacked_slopes(model: Model, params: Params, episodes: Sequence[Episode],
                   episode_loss: Callable[[Model, Params, Episode], Tensor], order: int
                   ) -> tuple[Tensor, list[Tensor]]:  # fmt: skip
    """The mean of `stacked_losses`, and its gradient for each of `params`: zero for what no episode depends on."""
    leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
    with torch.enable_grad():
        mean = stacked_losses(model, leaves, episodes, episode_loss, order).mean()
        found = torch.autograd.grad(mean, list(leaves.values()), allow_unused=True)
    slopes = [torch.zeros_like(v) if s is None else s for v, s in zip(leaves.values(), found, strict=True)]
    return mean.detach(), slopes


def stacked_answers(
    learner: Learner, model: Model, params: Params, episodes: Sequence[Episode]
) -> list[tuple[Tensor, int]]:
    """Of every episode, in their order, the outputs for its queries [items, outputs], and how many numbers adapting
    changed or made. Without grad mode."""
    found: dict[int, tuple[Tensor, int]] = {}

    def one(mine: Params, episode: Episode) -> tuple[Tensor, Tensor]:
        query = episode.query.inputs
        predictor = learner.adapt(model, mine, episode.support, query if learner.transductive else None)
        outputs = predictor.outputs(query)
        moved = torch.zeros((), dtype=torch.int64, device=outputs.device)
        for name, value in predictor.params.items():
            moved = moved + ((value != mine[name]).sum() if name in mine else value.numel())
        return outputs, moved

    with torch.no_grad(), derivatives(1, transformed=True):
        for stack in stacks(episodes, device_of(params)):
            outputs, moved = stack.run(one, model, params)
            found |= dict(zip(stack.places, zip(outputs, moved.tolist(), strict=True), strict=True))
    return [found[place] for place in range(len(episodes))]


def placed(episode: Episode, device: torch.device) -> Episode:
    """`episode` with its tensors on `device`."""
    return episode if device.type == "cpu" else _with(episode, [each.to(device) for each in _tensors(episode)])


def _stacked(places: list[int], episodes: Sequence[Episode], device: torch.device) -> Stack:
    columns = [_alike(column).to(device) for column in zip(*map(_tensors, episodes), strict=True)]
    return Stack(places, episodes[0], tuple(columns))


def _alike(tensors: Sequence[Tensor]) -> Tensor:
    """[tasks, ...]: filled up with 0 at the end of their last axis, which is padding wherever the lengths differ."""
    longest = max(each.shape[-1] for each in tensors)
    return torch.stack([pad(each, (0, longest - each.shape[-1])) for each in tensors])


def _tensors(episode: Episode) -> list[Tensor]:
    return [episode.rows, *_of_half(episode.support), *_of_half(episode.query)]


def _of_half(half: Examples) -> Iterator[Tensor]:
    yield half.targets
    for inputs in (half.inputs, half.names):
        if inputs is not None:
            yield from (each for name in PARTS if (each := getattr(inputs, name)) is not None)


def _with(episode: Episode, tensors: Sequence[Tensor]) -> Episode:
    """`episode` with the tensors of another one of its kind."""
    rows, *rest = tensors
    given = iter(rest)  # as `_of_half` gave them

    def put(inputs: Inputs) -> Inputs:
        parts: dict[str, Any] = {name: next(given) for name in PARTS if getattr(inputs, name) is not None}
        return replace(inputs, ids=None if inputs.ids is None else rows, **parts)

    def half(examples: Examples) -> Examples:
        targets, inputs = next(given), put(examples.inputs)
        names = None if examples.names is None else put(examples.names)
        return replace(examples, inputs=inputs, targets=targets, names=names)

    return replace(episode, rows=rows, support=half(episode.support), query=half(episode.query))
