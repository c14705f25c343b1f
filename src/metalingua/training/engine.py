"""Runs many tasks, each as the learner wrote it for one. Nothing else loops over tasks.

On a CPU a worker thread takes one task at a time, with one intra-op thread: large batches of tasks overflow the caches.
Results and gradients are put together in task order, so the number of threads changes no bit.

On an accelerator tasks run as one, by torch.vmap (`metalingua.training.stack`), where learner and encoder can.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from metalingua.error import UserError
from metalingua.learner.learner import Learner
from metalingua.limit import AtLeast, OneOf, limited
from metalingua.machine import cores
from metalingua.model.derivative import derivatives
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Asked, Statistics
from metalingua.task.episode import Episode
from metalingua.training.device import device_of, precision, settle, wait_for
from metalingua.training.memory import keep_freed
from metalingua.training.stack import placed, stacked_answers, stacked_slopes

EpisodeLoss = Callable[[Model, Params, Episode], Tensor]
AT_ONCE = 64  # episodes judged as one: validation has hundreds, which need not fit into memory together


@dataclass(frozen=True)
class Judgement:
    """What one learner did on one episode."""

    statistics: Statistics  # of the problem, over the queries
    adapt_seconds: float
    moved: int  # numbers that adapting changed or made
    predictions: np.ndarray  # [query items], as the task's labels
    steps: int | None = None  # gradient steps, where the learner itself decided when to stop


class Engine:
    """How a batch of tasks is run.

    threads   workers; None means one per core that this process may use
    batching  "threads"; "vmap": many tasks as one; "auto": that on an accelerator, where learner and encoder can
    """

    @limited("engine")
    def __init__(
        self,
        threads: Annotated[int, AtLeast(1)] | None = None,
        batching: Annotated[str, OneOf("auto", "threads", "vmap")] = "auto",
    ):
        keep_freed()
        torch.set_num_threads(1)  # of the main thread: helpers of its own would spin beside the workers
        self.threads, self.batching = threads or cores(), batching
        _settle_kernels()
        self._pool = ThreadPoolExecutor(self.threads, "engine", initializer=torch.set_num_threads, initargs=(1,))

    def stacks(self, params: Params, vmaps: bool) -> bool:
        """Whether tasks of a learner and an encoder that both can (`vmaps`) run as one."""
        if self.batching == "vmap" and not vmaps:
            raise UserError(
                "engine.batching is vmap: this learner or this model cannot run many tasks as one (its class says "
                "vmaps = False, and why); set engine.batching=auto, or choose another model=cnn, learner=maml"
            )
        return vmaps and (self.batching == "vmap" or (self.batching == "auto" and device_of(params).type != "cpu"))

    def map(self, function: Callable[[Episode], Any], episodes: Sequence[Episode]) -> list[Any]:
        """`function` of every episode, in order, with the caller's grad mode."""
        return list(self._as_done(function, episodes))

    def _as_done(self, function: Callable[[Episode], Any], episodes: Sequence[Episode]) -> Iterator[Any]:
        """The same, each when it and those before it are done; the workers have begun when this returns."""
        grad = torch.is_grad_enabled()

        def work(episode: Episode) -> Any:
            with torch.set_grad_enabled(grad):
                return function(episode)

        return self._pool.map(work, episodes)

    def loss(
        self,
        model: Model,
        params: Params,
        episodes: Sequence[Episode],
        episode_loss: EpisodeLoss,
        order: int,
        vmaps: bool = False,
    ) -> Tensor:
        """Mean of `episode_loss` over `episodes`, a scalar whose backward hands `params` their gradients.

        params  leaves; those no episode depends on get a gradient of zero
        order   highest derivative that `episode_loss` takes of the model
        vmaps   whether `episode_loss` and the encoder run under torch.vmap
        """
        if self.stacks(params, vmaps):
            loss, slopes = stacked_slopes(model, params, episodes, episode_loss, order)
            return _Precomputed.apply(loss, slopes, 1, *params.values())
        settle(device := device_of(params))
        asked_for = precision(device)

        def one(episode: Episode) -> tuple[Tensor, list[Tensor | None]]:
            with asked_for():
                return slopes_of(model, params, placed(episode, device), episode_loss, order)

        results = self._as_done(one, episodes)
        total = {name: torch.zeros_like(value) for name, value in params.items()}
        losses = []
        for episode, (loss, grads) in zip(episodes, results, strict=True):  # summed while others are computed
            losses.append(loss)
            for (name, into), grad in zip(total.items(), grads, strict=True):
                if grad is None:
                    continue
                if name.endswith(model.rows):
                    into.index_add_(0, episode.rows.to(device), grad)
                else:
                    into.add_(grad)
        mean = torch.stack(losses).mean()
        return _Precomputed.apply(mean, list(total.values()), len(episodes), *params.values())

    def depends(
        self, model: Model, params: Params, episode: Episode, episode_loss: EpisodeLoss, order: int
    ) -> bool:  # fmt: skip
        """Whether `episode_loss` has a gradient for any of `params`: a frozen encoder may leave none."""

        def one(episode: Episode) -> bool:
            leaves = {name: value.detach().requires_grad_() for name, value in localise(model, params, episode).items()}
            with torch.enable_grad(), derivatives(order):
                return episode_loss(model, leaves, episode).requires_grad

        return self.map(one, [placed(episode, device_of(params))])[0]

    def judge(
        self, learner: Learner, model: Model, params: Params, episodes: Sequence[Episode], wholly: bool = False
    ) -> list[Judgement]:
        """Adapt to every support set and answer its queries, by the same call as in training.

        wholly   make answers that are made token by token too (translations), which is slow
        In the precision of `params`, whatever `trainer.precision` is. Where tasks run as one, `adapt_seconds` is a
        task's share of adapting and answering.
        """
        vmaps = learner.vmaps and model.encoder.vmaps
        if vmaps and self.stacks(params, vmaps):  # a baseline that cannot is judged one task at a time
            chunks = [episodes[first : first + AT_ONCE] for first in range(0, len(episodes), AT_ONCE)]
            with torch.autocast(device_of(params).type, enabled=False):
                return [each for chunk in chunks for each in self._judge_stacked(learner, model, params, chunk)]
        settle(device := device_of(params))

        def one(given: Episode) -> Judgement:
            episode = placed(given, device)
            mine = localise(model, params, episode)
            for half in (episode.support, episode.query)[: 1 + learner.transductive]:
                model.encoder.keep(half.inputs)  # else the first learner would pay for all
            wait_for(device)
            began = perf_counter()
            predictor = learner.adapt(
                model, mine, episode.support, episode.query.inputs if learner.transductive else None
            )
            wait_for(device)
            seconds = perf_counter() - began
            outputs = predictor.outputs(episode.query.inputs).cpu()
            problem = episode.query.problem
            asked = Asked(episode.query.inputs, episode.query.gold, predictor.outputs if wholly else None)
            statistics = problem.statistics(outputs, given.query.targets, asked)
            changed = moved(mine, predictor.params)
            return Judgement(statistics, seconds, changed, problem.predictions(outputs), predictor.steps)

        with torch.no_grad():
            return self.map(one, episodes)

    def _judge_stacked(
        self, learner: Learner, model: Model, params: Params, episodes: Sequence[Episode]
    ) -> list[Judgement]:
        began = perf_counter()
        answers = stacked_answers(learner, model, params, episodes)
        wait_for(device_of(params))
        seconds, judged = (perf_counter() - began) / len(episodes), []
        for episode, (outputs, changed) in zip(episodes, answers, strict=True):
            problem, outputs = episode.query.problem, outputs.cpu()
            asked = Asked(episode.query.inputs, episode.query.gold)
            statistics = problem.statistics(outputs, episode.query.targets, asked)
            judged.append(Judgement(statistics, seconds, changed, problem.predictions(outputs)))
        return judged


def slopes_of(
    model: Model, params: Params, episode: Episode, episode_loss: EpisodeLoss, order: int
) -> tuple[Tensor, list[Tensor | None]]:
    """The loss of one task and its gradients with respect to `params` as `localise` has them, in their order; None for
    those that the loss does not depend on."""
    leaves = {name: value.detach().requires_grad_() for name, value in localise(model, params, episode).items()}
    with torch.enable_grad(), derivatives(order):
        loss = episode_loss(model, leaves, episode)
        return loss.detach(), list(torch.autograd.grad(loss, list(leaves.values()), allow_unused=True))


@cache
def _settle_kernels() -> None:
    """Call the linear algebra library once from one thread. It looks at the processor at its first call, and of two
    first calls at once one may get another kernel, which rounds otherwise: then two runs of a config differ in bits."""
    for dtype in (torch.float32, torch.float64):
        x = torch.ones(16, 16, dtype=dtype)
        torch.addmm(x, x, x)
        torch.bmm(x.unsqueeze(0), x.unsqueeze(0))
        for function in (torch.exp, torch.log, torch.tanh, torch.sigmoid):
            function(x)


def localise(model: Model, params: Params, episode: Episode) -> Params:
    """`params` with only the embedding rows that the episode's texts use. Exact: no gradient reaches another row.

    So too for what a learner has of its own for each of these rows: "learner.step_size.encoder.embedding.weight".
    """
    return {name: value[episode.rows] if name.endswith(model.rows) else value for name, value in params.items()}


def moved(before: Params, after: Params) -> int:
    """Numbers in `after` that differ from `before` or are new."""
    return sum(int((value != before[name]).sum()) if name in before else value.numel() for name, value in after.items())


class _Precomputed(torch.autograd.Function):
    """A loss with its gradients, worked out already: so optimisation, clipping and accumulation stay Lightning's."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, sums: list[Tensor], tasks: int, *params: Tensor) -> Tensor:
        """`sums` of the gradients of `tasks` tasks, the caller's no more: backward writes into them."""
        ctx.sums, ctx.tasks = sums, tasks
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *incoming: Tensor) -> tuple[Tensor | None, ...]:
        sums, ctx.sums = ctx.sums, None  # held by nobody, they become `.grad` without a copy
        scale = incoming[0] / ctx.tasks
        return None, None, None, *(each.mul_(scale) for each in sums)
