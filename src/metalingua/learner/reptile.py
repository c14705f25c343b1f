"""Reptile: Nichol, Achiam & Schulman (2018), arXiv:1803.02999, Algorithm 2."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from metalingua.learner.descent import descent, stepping, support_loss
from metalingua.learner.inner import GRADIENT_DESCENT, Inner
from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, AtLeast, OneOf, limited
from metalingua.model.model import Model, Params
from metalingua.task.episode import Episode, Examples
from metalingua.text.batch import joined


class Reptile(Learner):
    """Meta-learns an initialisation by moving it towards where descent on each task ends.

    Its meta-gradient is theta - phi, not the slope of a query loss: no query is answered in meta-training.
    """

    training = "meta"
    needs_head = True
    tells_tokens = True
    vmaps = True

    @limited("learner")
    def __init__(
        self,
        label: str,
        steps: Annotated[int, AtLeast(0)],
        step_size: Annotated[float, Above(0)],
        examples: Annotated[str, OneOf("support", "all")],
        inner: Inner = GRADIENT_DESCENT,
        tuned: Mapping[str, Sequence[Any]] | None = None,
    ):
        """
        steps      k of the paper
        examples   what meta-training descends on: "all" joins the two halves of an episode, for Reptile needs no split;
                   "support" takes as many as adapting has
        """
        self.label, self.steps, self.step_size, self.tuned = label, steps, step_size, tuned
        self.examples, self.inner = examples, inner

    def path(self, model: Model, params: Params, support: Examples) -> Iterator[Predictor]:
        """Of first order where gradients are asked for."""
        for fast in self._descent(model, params, support):
            yield Predictor.of(model, fast, support.problem)

    def episode_loss(self, model: Model, params: Params, episode: Episode) -> Tensor:
        """Half the squared distance from theta to phi, phi taken for a constant: its slope is theta - phi."""
        examples = episode.support if self.examples == "support" else _both(episode)
        with torch.no_grad():
            *_, there = self._descent(model, params, examples)
        return 0.5 * torch.stack([mse_loss(params[name], phi, reduction="sum") for name, phi in there.items()]).sum()

    def _descent(self, model: Model, params: Params, examples: Examples) -> Iterator[Params]:
        start = {name: params[name] for name in model.names(params, examples.problem)}
        loss, update = support_loss(model, params, examples), stepping(self.inner, self.step_size)
        return descent(loss, start, update, steps=self.steps, order=1)


def _both(episode: Episode) -> Examples:
    """The support set with the query set after it."""
    support, query = episode.support, episode.query
    return Examples(
        support.problem,
        joined(support.inputs, query.inputs),
        torch.cat([support.targets, query.targets]),
        np.concatenate([support.labels, query.labels]),
    )
