"""Naive Bayes on word counts of the support set: McCallum & Nigam (1998), the multinomial model, section 2.2."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch

from metalingua.learner.learner import Learner, Predictor
from metalingua.limit import Above, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs


class NaiveBayes(Learner):
    """scikit-learn's CountVectorizer (words) under its MultinomialNB."""

    of_tokens = False
    start = "scratch"

    @limited("learner")
    def __init__(
        self, label: str, smoothing: Annotated[float, Above(0)], tuned: Mapping[str, Sequence[Any]] | None = None
    ):
        """`smoothing`: scikit-learn's alpha, times that every word counts as seen in every class; 1 is Laplace's."""
        self.label, self.smoothing, self.tuned = label, smoothing, tuned

    def refuses(self, problem: Problem) -> str | None:
        return None if problem.outputs > 1 else "naive Bayes tells classes apart; it does not answer with a number"

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.naive_bayes import MultinomialNB

        counts, bayes = CountVectorizer(token_pattern=r"(?u)\b\w+\b"), MultinomialNB(alpha=self.smoothing)
        bayes.fit(counts.fit_transform(support.inputs.texts), support.targets.cpu().numpy())

        def outputs(inputs: Inputs) -> torch.Tensor:
            scores = np.full((len(inputs), support.problem.outputs), -np.inf)
            scores[:, bayes.classes_] = bayes.predict_log_proba(counts.transform(inputs.texts))
            return torch.from_numpy(scores)

        learnt = np.append(bayes.feature_log_prob_, bayes.class_log_prior_)
        return Predictor(outputs, {"log_probabilities": torch.from_numpy(learnt)})
