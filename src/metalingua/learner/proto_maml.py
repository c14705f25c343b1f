"""Proto-MAML: Triantafillou et al. (2020), arXiv:1903.03096, its paragraph "Proto-MAML"."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from torch import Tensor

from metalingua.learner.descent import descent, stepping, support_loss
from metalingua.learner.inner import GRADIENT_DESCENT, Inner
from metalingua.learner.learner import Learner, Predictor, no_classes
from metalingua.learner.prototypes import means
from metalingua.limit import Above, AtLeast, OneOf, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples


class ProtoMaml(Learner):
    """MAML whose head is made from the support set: it begins as a prototypical network, of any number of ways."""

    training = "meta"
    vmaps = True

    @limited("learner")
    def __init__(
        self,
        label: str,
        steps: Annotated[int, AtLeast(0)],
        step_size: Annotated[float, Above(0)],
        order: Annotated[int, OneOf(1, 2)],
        inner: Inner = GRADIENT_DESCENT,
        tuned: Mapping[str, Sequence[Any]] | None = None,
    ):
        """`order`: 2 differentiates through the inner gradients; 1 takes them, not the prototypes, for constants."""
        self.label, self.steps, self.step_size, self.order = label, steps, step_size, order
        self.inner, self.tuned = inner, tuned

    def refuses(self, problem: Problem) -> str | None:
        return no_classes(problem)

    def path(self, model: Model, params: Params, support: Examples) -> Iterator[Predictor]:
        head = prototypes(model.features(params, support.inputs), support)
        # The steps descend on encoder and head as on parameters that know nothing of each other. A view is a new
        # name to autograd: with the very tensors that the head was made from, the first gradient of the encoder would
        # go through the head too.
        encoder = {name: value.view_as(value) for name, value in params.items() if name.startswith("encoder.")}
        start = {**encoder, **head}
        loss, update = support_loss(model, start, support), stepping(self.inner, self.step_size)
        for fast in descent(loss, start, update, steps=self.steps, order=self.order):
            yield Predictor.of(model, fast, support.problem)


def prototypes(features: Tensor, support: Examples) -> Params:
    """The head whose answers are minus the squared distances to the classes' means, but for what all classes share.

    features   [items, size] of the support texts
    returns    weight 2 c [ways, size], bias -|c|^2 [ways] of each mean c
    """
    centres = means(features, support.problem.codes(support.targets))
    name = f"head.{support.problem.name}"
    return {f"{name}.weight": 2 * centres, f"{name}.bias": -centres.square().sum(1)}
