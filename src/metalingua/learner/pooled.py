"""Pooled zero-shot: one classifier of all meta-training texts, for every new task as it is."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from threading import Lock
from typing import Annotated, Any

import numpy as np
import torch

from metalingua.error import UserError
from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples
from metalingua.task.task import Task
from metalingua.text.batch import Inputs

FITTING = Lock()  # once, whichever thread comes first


class Pooled(Learner):
    """TF-IDF and logistic regression, as tfidf.py has them, that has read the meta-training tasks and no support set.

    It knows classes by their place in the order of labels: class 1 of a new task is class 1 of those it has read.
    """

    of_tokens = False
    start = "scratch"
    needs_head = True  # a classifier for each problem of meta-training is all it has

    @limited("learner")
    def __init__(
        self, label: str, inverse_penalty: Annotated[float, Above(0)], tuned: Mapping[str, Sequence[Any]] | None = None
    ):
        """`inverse_penalty`: scikit-learn's C."""
        self.label, self.inverse_penalty, self.tuned = label, inverse_penalty, tuned
        # problem name to texts with labels, and how many tasks; None before it has read any
        self._pools: dict[str, Counter[tuple[str, int]]] | None = None
        self._fitted: dict[str, tuple[Any, Any]] = {}  # problem name to vectorizer and classifier

    def refuses(self, problem: Problem) -> str | None:
        if problem.outputs == 1:
            return "logistic regression tells classes apart; it does not answer with a number"
        if self._pools is not None and problem.name not in self._pools:
            return (
                f"no task of meta-training tells {problem.outputs} classes apart and draws all of them in every episode"
            )
        return None

    def fit(self, tasks: Sequence[Task]) -> None:
        """Pool the tasks with equally named problems; in each, a text with its label counts once.

        Left out are ratings, and tasks whose episodes draw some of their classes: there a place means no class.
        """
        pools: dict[str, Counter[tuple[str, int]]] = defaultdict(Counter)
        for task in tasks:
            if task.ways == len(task.classes):
                pools[task.problem.name].update([*dict.fromkeys(zip(task.texts, task.labels.tolist(), strict=True))])
        self._pools, self._fitted = dict(pools), {}

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        """Ignores the support set, but for which problem it poses."""
        problem = support.problem
        with FITTING:
            vectors, line = self._fit(problem)

        def outputs(inputs: Inputs) -> torch.Tensor:
            scores = np.full((len(inputs), problem.outputs), -np.inf)
            scores[:, line.classes_] = line.predict_log_proba(vectors.transform(inputs.texts))
            return torch.from_numpy(scores)

        return Predictor(outputs)

    def _fit(self, problem: Problem) -> tuple[Any, Any]:
        """The vectorizer and the classifier of a problem: at its first episode, for it may never come to one."""
        from sklearn.linear_model import LogisticRegression

        if problem.name not in self._fitted:
            if reason := self.refuses(problem):
                raise UserError(f"pooled: {reason}")
            pool = (self._pools or {})[problem.name]
            texts, labels = zip(*pool, strict=True)
            vectors, rows = _read(texts)
            line = LogisticRegression(C=self.inverse_penalty, max_iter=1000)
            line.fit(rows, labels, sample_weight=np.array([*pool.values()], dtype=np.float64))
            self._fitted[problem.name] = vectors, line
        return self._fitted[problem.name]


@lru_cache(maxsize=4)  # every setting that is tried reads the same texts
def _read(texts: tuple[str, ...]) -> tuple[Any, Any]:
    """The vectorizer fitted on `texts`, and their rows."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    return vectors, vectors.fit_transform(texts)
