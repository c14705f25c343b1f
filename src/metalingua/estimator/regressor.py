"""Ratings of texts from a few rated ones."""

import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import RegressorMixin

from metalingua.estimator.few_shot import FewShot
from metalingua.estimator.given import EstimatorError, pairs
from metalingua.estimator.learned import Learned
from metalingua.problem.regression import Regression


class FewShotRegressor(RegressorMixin, FewShot):
    """A rater of texts, adapted by a few rated texts: `metalingua.load(run, kind="regression")` makes it.

    learned, settings, batch_size   as of FewShotClassifier
    scale   [lowest, highest] that a rating can be; None: the scale that meta-training had
    """

    kind = "regression"

    def __init__(
        self,
        learned: Learned,
        scale: Sequence[float] | None = None,
        settings: Mapping[str, Any] | None = None,
        batch_size: int = 64,
    ):
        self.learned, self.scale, self.settings, self.batch_size = learned, scale, settings, batch_size

    def fit(self, X: Iterable[str], y: Iterable[float]) -> Self:
        """Adapt to texts `X` with ratings `y`. Raises ValueError, saying what to change."""
        texts, ratings = pairs(X, y)
        if wrong := [each for each in ratings if not isinstance(each, numbers.Real) or isinstance(each, bool)]:
            raise EstimatorError(f"rating {wrong[0]!r} is no number: a regression takes numbers")
        scales = self.learned.scales if self.scale is None else [list(self.scale)]
        if len(scales) != 1:
            raise EstimatorError(f"meta-training had the scales {scales}, not one: give scale=[lowest, highest]")
        if len(scales[0]) != 2 or not scales[0][0] < scales[0][1]:
            raise EstimatorError(f"scale is {scales[0]}: it must be [lowest, highest]")
        low, high = map(float, scales[0])
        if outside := [each for each in ratings if not low <= each <= high]:
            raise EstimatorError(f"rating {outside[0]} is not on the scale from {low:g} to {high:g}: give scale=[...]")
        problem = Regression(low, high)
        self._adapt(self._learner_for(problem), self._support_of(texts), np.asarray(ratings, dtype=np.float64), problem)
        return self

    def predict(self, X: Iterable[str]) -> np.ndarray:
        """The rating of every text of `X`, [texts], on the scale."""
        return self.problem_.predictions(torch.from_numpy(found)) if len(found := self.outputs(X)) else np.empty(0)

    def _facts(self) -> dict[str, Any]:
        assert isinstance(self.problem_, Regression)
        return {"scale": [self.problem_.low, self.problem_.high], "cut": self.cut_}

    def _recall(self, facts: Mapping[str, Any]) -> None:
        self.problem_, self.cut_ = Regression(*facts["scale"]), facts["cut"]
