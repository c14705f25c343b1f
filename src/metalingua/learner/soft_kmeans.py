"""Soft k-means prototypes: Ren et al. (2018), arXiv:1803.00676, section 3.1.1, with the queries as unlabelled texts."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from torch import Tensor

from metalingua.learner.learner import Learner, Predictor, no_classes
from metalingua.learner.prototypes import distances, means
from metalingua.limit import AtLeast, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs


class SoftKMeans(Learner):
    """Meta-learns features whose class means, moved by the unlabelled texts around them, lie nearest to their texts."""

    training = "meta"
    transductive = True
    vmaps = True

    @limited("learner")
    def __init__(
        self,
        label: str,
        refinements: Annotated[int, AtLeast(0)],
        tuned: Mapping[str, Sequence[Any]] | None = None,
    ):
        """`refinements`: times the prototypes move; the paper's is 1, and 0 leaves a prototypical network."""
        self.label, self.refinements, self.tuned = label, refinements, tuned

    def refuses(self, problem: Problem) -> str | None:
        return no_classes(problem)

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        """Without `query_inputs` there is nothing to refine with: the support set's own means."""
        features = model.features(params, support.inputs)
        classes = support.problem.codes(support.targets).to(features.dtype)  # z of the paper, [support items, ways]
        prototypes = means(features, classes)
        if query_inputs is not None:
            queries = model.features(params, query_inputs)
            for _ in range(self.refinements):
                shares = (-distances(queries, prototypes)).softmax(-1)  # z of the unlabelled texts, [queries, ways]
                total = classes.sum(0) + shares.sum(0)
                prototypes = (classes.T @ features + shares.T @ queries) / total.unsqueeze(1)

        def outputs(inputs: Inputs) -> Tensor:
            return -distances(model.features(params, inputs), prototypes)

        return Predictor(outputs, {"prototypes": prototypes})
