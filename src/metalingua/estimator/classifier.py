"""Classes of texts from a few labelled ones."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.base import ClassifierMixin

from metalingua.estimator.few_shot import FewShot, one_thread
from metalingua.estimator.given import EstimatorError, one_type, pairs
from metalingua.estimator.learned import Learned
from metalingua.learner.learner import Learner
from metalingua.problem.classification import Classification
from metalingua.text.batch import Inputs


class FewShotClassifier(ClassifierMixin, FewShot):
    """A classifier of texts, adapted to a new task by a few labelled texts: `metalingua.load(run)` makes it.

    learned     what a run learned; shared by all clones, and never changed by fit
    order       the labels in the order that the trained head knows: a head of meta-training tells "first class" from
                "second class", as `learned.heads` has them (negative before positive). None: the order of a task of
                meta-training with the very same labels; else that in which the head, before adapting, fits the texts
                of `fit` best. It matters to learners with such a head alone
    settings    of the learner, in place of those that the run chose on meta-validation: {"steps": 10}
    batch_size  texts that are answered together

    After fit: `classes_`, ascending; `order_`, the order that was taken; `cut_`, how many texts were longer than the
    model reads; `adapted_`, what adapting changed or made, by the names that the learner gives it (a parameter of the
    model has its own name).
    """

    kind = "classification"

    def __init__(
        self,
        learned: Learned,
        order: Sequence[Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        batch_size: int = 64,
    ):
        self.learned, self.order, self.settings, self.batch_size = learned, order, settings, batch_size

    def fit(self, X: Iterable[str], y: Iterable[Any]) -> Self:
        """Adapt to texts `X` with labels `y`: two classes or more, of any size each.

        Raises ValueError, saying what to change.
        """
        texts, labels = pairs(X, y)
        classes, index = np.unique(one_type(labels), return_inverse=True)
        if len(classes) < 2:
            raise EstimatorError(f"all {len(texts)} labels are {labels[0]!r}: telling classes apart takes two or more")
        problem = Classification(len(classes))
        learner, inputs = self._learner_for(problem), self._support_of(texts)
        places = self._places(learner, classes.tolist(), index, inputs, problem)
        columns = [places.index(each) for each in classes.tolist()]
        self._adapt(learner, inputs, np.array(columns)[index], problem, names=places)
        self.classes_, self.order_, self._columns = classes, places, columns
        return self

    def predict(self, X: Iterable[str]) -> np.ndarray:
        """The likeliest label of every text of `X`, [texts]."""
        found = self.outputs(X)
        return self.classes_[found.argmax(1)] if len(found) else self.classes_[:0]

    def predict_proba(self, X: Iterable[str]) -> np.ndarray:
        """[texts, classes], columns as `classes_`: the softmax of `outputs`, as the loss of meta-training has it.

        Not calibrated; of relation_net and induction_net, whose scores no softmax was trained on, a ranking alone.
        """
        found = self.outputs(X)
        whole = np.exp(found - found.max(1, keepdims=True)) if len(found) else found
        return whole / whole.sum(1, keepdims=True)

    def outputs(self, texts: Iterable[str]) -> np.ndarray:
        return super().outputs(texts)[:, self._columns]

    outputs.__doc__ = FewShot.outputs.__doc__

    def _places(
        self, learner: Learner, labels: list[Any], index: np.ndarray, inputs: Inputs, problem: Classification
    ) -> list[Any]:
        """`labels`, ascending, in the order of the head's outputs; `index` is that of each of `inputs` in `labels`."""
        if self.order is not None:
            if len(self.order) != len(labels) or set(self.order) != set(labels):
                raise EstimatorError(f"order is {list(self.order)}, and the labels are {labels}: it must have the same")
            return list(self.order)
        for names in self.learned.heads.get(problem.name, []):
            if sorted(names) == sorted(map(str, labels)):
                return sorted(labels, key=lambda label: names.index(str(label)))
        if not learner.needs_head or self.learned.label_order != "fixed":
            return labels
        with torch.no_grad(), one_thread():
            surprise = -self._model().outputs(self.learned.params, inputs, problem).log_softmax(1).numpy()
        cost = np.stack([surprise[index == label].sum(0) for label in range(len(labels))])  # [labels, places], nats
        return [labels[label] for label in linear_sum_assignment(cost.T)[1]]

    def _facts(self) -> dict[str, Any]:
        classes = self.classes_.tolist()
        if not all(isinstance(each, str | int | float) for each in classes):
            raise EstimatorError(f"labels are {type(classes[0]).__name__}s: a file keeps strings and numbers alone")
        return {"classes": classes, "order": self.order_, "cut": self.cut_}

    def _recall(self, facts: Mapping[str, Any]) -> None:
        self.classes_, self.order_, self.cut_ = np.array(facts["classes"]), facts["order"], facts["cut"]
        self._columns = [self.order_.index(each) for each in self.classes_.tolist()]
        self.problem_ = Classification(len(self.classes_))
