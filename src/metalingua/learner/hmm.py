"""A hidden Markov model on the support set: Rabiner (1989), Proc. IEEE 77(2), sections III A and B."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from metalingua.learner.crf import shape
from metalingua.learner.learner import Learner, Predictor
from metalingua.learner.sentences import NO_TAGS, sentences
from metalingua.limit import Above, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs


class Hmm(Learner):
    """Tags follow tags, and words follow from tags: both by counts. A word that the support lacks counts as its shape,
    as Bikel et al. (1997, Nymble) have it.

    smoothing   added to every count
    """

    start = "scratch"

    @limited("learner")
    def __init__(
        self, label: str, smoothing: Annotated[float, Above(0)], tuned: Mapping[str, Sequence[Any]] | None = None
    ):
        self.label, self.smoothing, self.tuned = label, smoothing, tuned

    def refuses(self, problem: Problem) -> str | None:
        return None if problem.tags else NO_TAGS

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        tags, targets = support.problem.outputs, support.targets.tolist()
        follows = np.full((tags + 1, tags), self.smoothing)  # the last row: of a sentence's first word
        said: list[Counter[str]] = [Counter() for _ in range(tags)]
        shapes: list[Counter[str]] = [Counter() for _ in range(tags)]
        for words, items in sentences(support.inputs):
            for word, before, tag in zip(words, [tags, *targets[items]], targets[items], strict=False):
                follows[before, tag] += 1
                said[tag][word.lower()] += 1
                shapes[tag][shape(word)] += 1
        follows /= follows.sum(1, keepdims=True)
        words_known = set().union(*said)
        kinds = len(set().union(*shapes)) + 1  # and all that were not seen

        def gives(word: str) -> np.ndarray:
            """P(word | tag), [tags]; of one that is not known, P(its shape | tag)."""
            low = word.lower()
            table, key, size = (said, low, len(words_known)) if low in words_known else (shapes, shape(word), kinds)
            return np.array([(t[key] + self.smoothing) / (t.total() + self.smoothing * size) for t in table])

        def answers(inputs: Inputs) -> Tensor:
            """Logarithms of the tags' probabilities given the whole sentence, [words, tags]: equation 27."""
            found = np.empty((len(inputs), tags))
            for words, items in sentences(inputs):
                found[items] = _posterior(follows, np.array([gives(word) for word in words]))
            return torch.from_numpy(np.log(np.maximum(found, np.finfo(np.float32).tiny))).float()

        return Predictor(answers)


def _posterior(follows: np.ndarray, gives: np.ndarray) -> np.ndarray:
    """P(tag of each word | all words), [words, tags], by the forward and backward passes, each step scaled to sum 1.

    follows   [tags + 1, tags] P(tag | the one before); the last row begins a sentence
    gives     [words, tags] P(word | tag)
    """
    steps = follows[:-1]
    forward, backward = np.empty_like(gives), np.ones_like(gives)
    for t, given in enumerate(gives):
        forward[t] = given * (forward[t - 1] @ steps if t else follows[-1])
        forward[t] /= forward[t].sum()
    for t in range(len(gives) - 2, -1, -1):
        backward[t] = steps @ (gives[t + 1] * backward[t + 1])
        backward[t] /= backward[t].sum()
    both = forward * backward
    return both / both.sum(1, keepdims=True)
