"""Minibatch descent on the support set, stopped early: what anyone does with hundreds of labels or more.

Adam by default (Kingma & Ba 2015); early stopping on held-out labels: Prechelt (1998), "Early stopping, but when?".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import torch
from torch import Tensor

from metalingua.learner.descent import descent, moving, stepping
from metalingua.learner.inner import Inner
from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, AtLeast, Below, limited
from metalingua.model.model import Model, Params
from metalingua.task.episode import Examples
from metalingua.text.batch import items_of, taken


class Minibatch(Learner):
    """Descends on a few texts at a time, pass after pass over the support set, from wherever `start` says."""

    tells_tokens = True

    @limited("learner")
    def __init__(
        self,
        label: str,
        start: str,
        passes: Annotated[int, AtLeast(0)],
        step_size: Annotated[float, Above(0)],
        batch: Annotated[int, AtLeast(1)],
        held_out: Annotated[float, AtLeast(0), Below(1)],
        patience: Annotated[int, AtLeast(1)],
        inner: Inner,
        frozen: Sequence[str] = (),
        tuned: Mapping[str, Sequence[Any]] | None = None,
    ):
        """
        start      "scratch", "trained" (this run's learner), or the compare entry whose trained parameters to take
        passes     over the support set, at most
        batch      texts a step; the order is new every pass, and the same whenever as many texts are given
        held_out   share of the support set that is not descended on: the parameters with the lowest loss there are
                   taken. 0: descend on all, for all passes. Less than one text is none
        patience   passes without a lower held-out loss after which it stops
        frozen     patterns of parameter names that stay as they are
        """
        self.label, self.start, self.passes, self.step_size, self.tuned = label, start, passes, step_size, tuned
        self.batch, self.held_out, self.patience = batch, held_out, patience
        self.inner, self.frozen = inner, frozen

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Any = None) -> Predictor:
        """Never differentiated: it is not meta-trained."""
        with torch.no_grad():
            return self._adapt(model, params, support)

    def _adapt(self, model: Model, params: Params, support: Examples) -> Predictor:
        problem, items = support.problem, len(support.inputs.lengths)
        needed = {name: params[name] for name in model.names(params, problem)}
        start = {name: needed[name] for name in moving(list(needed), self.frozen)}
        dice = torch.Generator().manual_seed(items)
        spared = int(self.held_out * items)
        kept, held = torch.randperm(items, generator=dice).split([items - spared, spared])
        batches = self._batches(kept, dice)

        def loss(fast: Params) -> Tensor:
            some = _part(support, next(batches))
            return problem.loss(model.outputs({**needed, **fast}, some.inputs, problem), some.targets)

        each, judge = -(-len(kept) // self.batch), _part(support, held) if len(held) else None
        path = descent(loss, start, stepping(self.inner, self.step_size), steps=self.passes * each, order=1)
        best, lowest, since, last = start, float("inf"), 0, 0
        for step, fast in enumerate(path):
            if step % each:
                continue
            last = step
            if judge is None:
                best = fast
                continue
            now = float(problem.loss(model.outputs({**needed, **fast}, judge.inputs, problem), judge.targets))
            best, lowest, since = (fast, now, 0) if now < lowest else (best, lowest, since + 1)
            if since == self.patience:
                break
        return replace(Predictor.of(model, {**needed, **best}, problem), steps=last)

    def _batches(self, items: Tensor, dice: torch.Generator) -> Iterator[Tensor]:
        """Without end: `items` in a new order every pass, `batch` at a time."""
        while True:
            yield from items[torch.randperm(len(items), generator=dice)].split(self.batch)


def _part(examples: Examples, texts: Tensor) -> Examples:
    """The examples of `texts` [number] int64."""
    items = items_of(examples.inputs, texts)
    return Examples(
        examples.problem, taken(examples.inputs, texts), examples.targets[items], examples.labels[items.cpu().numpy()]
    )
