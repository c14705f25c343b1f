"""Nearest class mean: Mensink et al. (2013), section 3.1, on features that another learner trained."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from torch import Tensor
from torch.nn.functional import normalize

from metalingua.learner.learner import Learner, Predictor
from metalingua.learner.prototypes import NO_CLASSES, distances, means
from metalingua.limit import OneOf, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs


class NearestCentroid(Learner):
    """Nothing is trained: the class whose support texts' mean feature is nearest."""

    vmaps = True

    @limited("learner")
    def __init__(
        self,
        label: str,
        start: str,
        distance: Annotated[str, OneOf("euclidean", "cosine")],
        tuned: Mapping[str, Sequence[Any]] | None = None,
    ):
        """
        start      whose features: "trained" (this run's learner), or the compare entry whose trained parameters to take
        distance   squared Euclidean, or the cosine of the angle between a text and the mean of the support texts, all
                   brought to length 1 (Wang et al. 2019, arXiv:1911.04623, section 3)
        """
        self.label, self.start, self.distance, self.tuned = label, start, distance, tuned

    def refuses(self, problem: Problem) -> str | None:
        return None if problem.outputs > 1 else NO_CLASSES

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        features = self._features(model, params, support.inputs)
        centroids = means(features, support.problem.codes(support.targets))
        return self.predictor(model, params, {"centroids": centroids}, support.problem)

    def predictor(self, model: Model, params: Params, adapted: Params, problem: Problem) -> Predictor:
        centroids = adapted["centroids"]

        def outputs(inputs: Inputs) -> Tensor:  # [items, ways], higher is nearer
            features = self._features(model, params, inputs)
            if self.distance == "cosine":
                return features @ normalize(centroids, dim=-1).T
            return -distances(features, centroids)

        return Predictor(outputs, adapted)

    def _features(self, model: Model, params: Params, inputs: Inputs) -> Tensor:
        found = model.features(params, inputs)
        return normalize(found, dim=-1) if self.distance == "cosine" else found
