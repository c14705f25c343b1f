"""ANIL, almost no inner loop: Raghu, Raghu, Bengio & Vinyals (2020), arXiv:1909.09157, section 4."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from torch import Tensor

from metalingua.learner.descent import descent, stepping
from metalingua.learner.inner import GRADIENT_DESCENT, Inner
from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, AtLeast, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Episode, Examples
from metalingua.text.batch import joined


class Anil(Learner):
    """Meta-learns features, and a head from which a few gradient steps, of the head alone, answer a task's queries.

    The meta-gradient is exact. It differentiates the head's gradients, but the features only once, so `order` is 1 and
    models may take their fastest kernel.
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
        inner: Inner = GRADIENT_DESCENT,
        tuned: Mapping[str, Sequence[Any]] | None = None,
    ):
        self.label, self.steps, self.step_size, self.inner, self.tuned = label, steps, step_size, inner, tuned

    def path(self, model: Model, params: Params, support: Examples) -> Iterator[Predictor]:
        problem, features = support.problem, model.features(params, support.inputs)
        for head in self._heads(model, params, problem, features, support.targets):
            yield Predictor.of(model, {**params, **head}, problem)

    def episode_loss(self, model: Model, params: Params, episode: Episode) -> Tensor:
        """One pass of the encoder over both halves: no step of the inner loop changes a feature."""
        support, query = episode.support, episode.query
        features = model.features(params, joined(support.inputs, query.inputs))
        seen, asked = features.split([len(support.inputs), len(query.inputs)])
        *_, head = self._heads(model, params, support.problem, seen, support.targets)
        return query.problem.loss(model.answers(head, asked, query.problem), query.targets)

    def _heads(
        self, model: Model, params: Params, problem: Problem, features: Tensor, targets: Tensor
    ) -> Iterator[Params]:
        """The head after 0, 1, 2, ... steps on features [items, size]."""
        start = {name: value for name, value in params.items() if name.startswith(f"head.{problem.name}.")}
        update = stepping(self.inner, self.step_size)
        # 2: the head's gradients are a linear layer's and a loss's, which cost nothing to differentiate
        yield from descent(
            lambda head: problem.loss(model.answers(head, features, problem), targets),
            start,
            update,
            steps=self.steps,
            order=2,
        )
