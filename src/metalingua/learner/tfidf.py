"""TF-IDF and logistic regression on the support set: the statistical generation of the article's three."""

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


class Tfidf(Learner):
    """scikit-learn's TfidfVectorizer (words and pairs of words) under its LogisticRegression."""

    of_tokens = False
    start = "scratch"

    @limited("learner")
    def __init__(
        self, label: str, inverse_penalty: Annotated[float, Above(0)], tuned: Mapping[str, Sequence[Any]] | None = None
    ):
        """`inverse_penalty`: scikit-learn's C."""
        self.label, self.inverse_penalty, self.tuned = label, inverse_penalty, tuned

    def refuses(self, problem: Problem) -> str | None:
        return (
            None if problem.outputs > 1 else "logistic regression tells classes apart; it does not answer with a number"
        )

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
        line = LogisticRegression(C=self.inverse_penalty, max_iter=1000)
        line.fit(vectors.fit_transform(support.inputs.texts), support.targets.cpu().numpy())

        def outputs(inputs: Inputs) -> torch.Tensor:
            scores = np.full((len(inputs), support.problem.outputs), -np.inf)
            scores[:, line.classes_] = line.predict_log_proba(vectors.transform(inputs.texts))
            return torch.from_numpy(scores)

        return Predictor(outputs, {"coefficients": torch.from_numpy(np.append(line.coef_, line.intercept_))})
