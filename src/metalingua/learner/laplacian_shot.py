"""LaplacianShot: Ziko, Dolz, Granger & Ben Ayed (2020), arXiv:2006.15486, equation 1 and Algorithm 1."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor

from metalingua.learner.learner import Learner, Predictor, no_classes
from metalingua.learner.prototypes import distances, means
from metalingua.limit import AtLeast, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Episode, Examples
from metalingua.text.batch import Inputs


class LaplacianShot(Learner):
    """Class means, and neighbouring queries should be of one class: the graph is there only when it is judged.

    The paper puts the graph on features that cross-entropy trained, centred and of length 1. Here a prototypical
    network trains them (Snell et al. 2017), whose classes lie around their means as they are.
    """

    training = "meta"
    transductive = True
    vmaps = True  # it reads texts to know them again, and in every episode a text is itself alone

    @limited("learner")
    def __init__(
        self,
        label: str,
        smoothness: Annotated[float, AtLeast(0)],
        neighbours: Annotated[int, AtLeast(1)],
        iterations: Annotated[int, AtLeast(0)],
        tuned: Mapping[str, Sequence[Any]] | None = None,
    ):
        """
        smoothness   lambda of the paper: what a neighbour's class weighs, in units of squared distance
        neighbours   k of the paper: edges from each query
        iterations   updates of the bound; 0 leaves a prototypical network
        """
        self.label, self.smoothness, self.neighbours, self.iterations = label, smoothness, neighbours, iterations
        self.tuned = tuned

    def refuses(self, problem: Problem) -> str | None:
        return no_classes(problem)

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        """Without `query_inputs` there is no graph: the class means alone answer."""
        problem, features = support.problem, model.features(params, support.inputs)
        prototypes = means(features, problem.codes(support.targets))
        if query_inputs is None or self.iterations == 0:
            return Predictor(
                lambda inputs: -distances(model.features(params, inputs), prototypes), {"prototypes": prototypes}
            )

        queries = model.features(params, query_inputs)
        unary, edges = -distances(queries, prototypes), self._edges(queries, query_inputs, queries, query_inputs)
        classes = unary.softmax(-1)  # y of the paper, [queries, ways]
        for _ in range(self.iterations - 1):  # the last update is the answer
            classes = (unary + self.smoothness * edges @ classes).softmax(-1)

        def outputs(inputs: Inputs) -> Tensor:
            mine = model.features(params, inputs)
            edges = self._edges(mine, inputs, queries, query_inputs)
            return -distances(mine, prototypes) + self.smoothness * edges @ classes

        return Predictor(outputs, {"prototypes": prototypes, "classes": classes})

    def episode_loss(self, model: Model, params: Params, episode: Episode) -> Tensor:
        """A prototypical network's: the query loss without the graph."""
        query = episode.query
        outputs = self.adapt(model, params, episode.support).outputs(query.inputs)
        return query.problem.loss(outputs, query.targets)

    def _edges(self, features: Tensor, inputs: Inputs, queries: Tensor, query_inputs: Inputs) -> Tensor:
        """w of the paper, [items, queries]: 1 for the nearest queries of each text, itself left out, else 0."""
        apart = distances(features, queries)
        same = [[text == other for other in query_inputs.texts] for text in inputs.texts]
        itself = torch.tensor(same, device=apart.device)
        nearest = apart.masked_fill(itself, torch.inf).topk(min(self.neighbours, len(query_inputs)), largest=False)
        edges = torch.zeros_like(apart).scatter(-1, nearest.indices, 1.0)
        return edges.masked_fill(itself, 0.0)  # where there are fewer other texts than neighbours
