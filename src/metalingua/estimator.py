"""What a run learned for people with a list of texts, as scikit-learn has it: fit on a few labels, predict the others.

    estimator = metalingua.load("outputs/sentiment/0123456789ab")
    estimator.fit(["a joy", "dull"], ["good", "bad"]).predict(["what a joy"])

The same learner, parameters and settings as in the run's table: on an episode's texts the outputs are the run's.
"""

import itertools
import math
import numbers
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from metalingua.error import UserError
from metalingua.learned import Learned
from metalingua.learner.learner import Learner, Predictor
from metalingua.model.model import Model, Params
from metalingua.problem.classification import Classification
from metalingua.problem.problem import Problem
from metalingua.problem.regression import Regression
from metalingua.task.episode import Examples
from metalingua.task.task import called
from metalingua.text.batch import Inputs, pad

KINDS = ("classification", "regression", "tagging")


class EstimatorError(UserError, ValueError):
    """Texts, labels or settings that cannot be used: it names them, the rule, and the way out."""


class FewShot(BaseEstimator):
    """What classifying, rating and tagging have in common. Texts are never kept, but by learners that read queries to
    adapt."""

    kind: ClassVar[str]  # one of KINDS
    learned: Learned
    settings: Mapping[str, Any] | None
    batch_size: int
    # after fit
    cut_: int
    problem_: Problem
    adapted_: Params
    _support: Examples | None  # of a learner that reads queries to adapt: it adapts when it is asked
    _predictor: Predictor | None  # None: not made anew yet

    def _learner_for(self, problem: Problem) -> Learner:
        """The learner. Raises EstimatorError if it cannot learn `problem`."""
        if not isinstance(self.batch_size, numbers.Integral) or self.batch_size < 1:
            raise EstimatorError(f"batch_size is {self.batch_size!r}: it must be a whole number, at least 1")
        learner = self._learner()
        if problem.of_tokens and not learner.of_tokens:
            raise EstimatorError(f"{learner.label} takes whole texts alone, no words. {self._way_out(problem)}")
        if reason := learner.refuses(problem):
            raise EstimatorError(f"{learner.label} refuses {_shown(problem)}: {reason}. {self._way_out(problem)}")
        if learner.needs_head and not self._head(problem):
            trained = ", ".join(name for name in self.learned.heads if name not in KINDS) or "none"
            raise EstimatorError(
                f"{learner.label} answers by a head that meta-training trained, and there is none for "
                f"{_shown(problem)} (trained: {trained}). {self._way_out(problem)}"
            )
        return learner

    def _adapt(
        self, learner: Learner, inputs: Inputs, labels: np.ndarray, problem: Problem, names: Sequence[Any] = ()
    ) -> None:
        """Adapt to `inputs` with `labels` as the problem takes them; `names` of its classes."""
        targets = problem.targets(labels)
        support = Examples(problem, inputs, targets, labels)
        if learner.reads_names:
            support = Examples(problem, inputs, targets, labels, self._named(names))
        with _one_thread():
            predictor = self._predictor_of(learner, support)
        for name, value in predictor.params.items():
            if not torch.isfinite(value).all():
                raise EstimatorError(
                    f"adapting left the range of numbers ({name}): lower its step size, settings={{'step_size': ...}}"
                )
        self.problem_, self.adapted_ = problem, dict(predictor.params)
        self._support = support if learner.transductive else None
        self._predictor = predictor

    def _learner(self) -> Learner:
        try:
            return self.learned.build(**(self.settings or {}))
        except ValueError as error:
            raise EstimatorError(str(error)) from error

    def _predictor_of(self, learner: Learner, support: Examples, query: Inputs | None = None) -> Predictor:
        with torch.no_grad():
            return learner.adapt(self._model(), self._params(support.problem), support, query)

    def _model(self) -> Model:
        return Model(self.learned.encoder, {})

    def _params(self, problem: Problem) -> Params:
        """What was learned, and a fresh head where none was: zeros, so that no class is preferred."""
        head, trained = f"head.{problem.name}", f"head.{self._head(problem) or problem.name}"
        if f"{trained}.weight" in self.learned.params:
            parts = {f"{head}.{part}": self.learned.params[f"{trained}.{part}"] for part in ("weight", "bias")}
            return self.learned.params | parts
        weight = torch.zeros(problem.outputs, self.learned.encoder.size)
        return {**self.learned.params, f"{head}.weight": weight, f"{head}.bias": torch.zeros(problem.outputs)}

    def _head(self, problem: Problem) -> str:
        """The name of the trained head that answers to `problem`; "" where there is none."""
        return problem.name if problem.name in self.learned.heads else ""

    def _named(self, names: Sequence[Any]) -> Inputs:
        found = called([str(name) for name in names], {})
        if found is None:
            raise EstimatorError(
                f"{self.learned.name} reads what classes are called, and these have no names in words: "
                f"{', '.join(map(str, names))}; give labels in words, or take a run of learner=proto_net"
            )
        return self._read(list(found))

    def _support_of(self, texts: list[str]) -> Inputs:
        """`texts` as `_read` has them, the first of this fit."""
        self.cut_ = 0
        return self._read(texts)

    def _read(self, texts: list[str]) -> Inputs:
        """One padded batch. Texts that are longer than the model reads are cut, and counted in `cut_`."""
        tokenizer, most = self.learned.reader, self.learned.max_length
        ids = tokenizer.encode(texts, most)
        # One more token tells whether there is more. Where there is none to ask for, the call has another use: some
        # tokenizers remember what they read at one length, and would remember all of a stream.
        full = [text for text, each in zip(texts, ids, strict=True) if len(each) == most]
        cut = sum(len(each) > most for each in tokenizer.encode(full, most + 1))
        if cut and not self.cut_:
            warnings.warn(
                f"texts of more than {most} tokens, as many as this model reads, are cut at their end; "
                "cut_ of the estimator counts them",
                stacklevel=4,
            )
        self.cut_ += cut
        return pad(ids, texts)

    def outputs(self, texts: Iterable[str]) -> np.ndarray:
        """What the learner answers, [texts, outputs] float64: a column a class, in the order of `classes_`, logits
        where it has some; of a rating one column, on -1 .. 1.

        Texts are read `batch_size` at a time, so that a generator of any length will do. A learner that looks at the
        queries (soft_kmeans, laplacian_shot) takes all of one call together, and answers by them.
        """
        check_is_fitted(self, "problem_")
        found = [self._batch(batch) for batch in self._batches(texts)]
        return np.concatenate(found) if found else np.empty([0, self.problem_.outputs])

    def _batches(self, texts: Iterable[str]) -> Iterator[list[str]]:
        if isinstance(texts, str | bytes):
            raise EstimatorError(f"texts is one text, {texts[:40]!r}: give a list of texts, [text]")
        given = (_text(each, place) for place, each in enumerate(texts))
        size = None if self._support is not None else self.batch_size
        while batch := list(itertools.islice(given, size)):
            yield batch

    def _batch(self, texts: list[str]) -> np.ndarray:
        inputs = self._read(texts)
        with torch.no_grad():
            return self._ready(inputs).outputs(inputs).double().numpy()

    def _ready(self, inputs: Inputs) -> Predictor:
        """What answers `inputs`."""
        if self._support is not None:
            return self._predictor_of(self._learner(), self._support, inputs)
        if self._predictor is None:  # it comes from a file
            self._predictor = self._restored()
        return self._predictor

    def _restored(self) -> Predictor:
        """A predictor made from nothing but `adapted_`. Raises EstimatorError where that cannot be."""
        learner, problem = self._learner(), self.problem_
        found = learner.predictor(self._model(), self._params(problem), self.adapted_, problem)
        if found is None or self._support is not None:
            raise EstimatorError(
                f"{learner.label} answers from the texts that it was fitted on, and a file holds none of these: save "
                "the estimator before fit (sklearn.base.clone gives one), and fit it where it is loaded"
            )
        return found

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one safetensors file, for `metalingua.load(path)`: no pickle, and no text in it.

        It holds what was meta-learned and the tokenizer; once fitted, also the labels and what adapted. Of a learner
        that moves word vectors, these tell which words the texts had. Pretrained encoders stay where their files lie:
        the config names the place.
        """
        about: dict[str, Any] = {"kind": self.kind, "params_of": self._plain_params()}
        adapted: Mapping[str, Tensor] = {}
        if hasattr(self, "problem_"):
            self._restored()
            about["fitted"], adapted = self._facts(), self.adapted_
        self.learned.write(Path(path), about, adapted)
        return Path(path)

    def _plain_params(self) -> dict[str, Any]:
        return {name: value for name, value in self.get_params(deep=False).items() if name != "learned"}

    def _facts(self) -> dict[str, Any]:
        raise NotImplementedError

    def _recall(self, facts: Mapping[str, Any]) -> None:
        """Become what `_facts` says."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and joblib. Raises EstimatorError as `save` does."""
        state = dict(super().__getstate__())
        if "problem_" in state:
            self._restored()
            state["_predictor"] = None
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string = False, True
        return tags

    def _way_out(self, problem: Problem) -> str:
        """Who can."""
        others = ", ".join(self.learned.others)
        here = f"load(run, learner=...) has {others} of this very run, which need no such head; " if others else ""
        return f"{here}runs of these learners can: {', '.join(_able(self.learned, problem))}"


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
        texts, labels = _pairs(X, y)
        classes, index = np.unique(_one_type(labels), return_inverse=True)
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
        with torch.no_grad(), _one_thread():
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
        texts, ratings = _pairs(X, y)
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


@contextmanager
def _one_thread() -> Iterator[None]:
    """As in a run: on ten texts, torch's helpers only wait for cores that others use, several times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _shown(problem: Problem) -> str:
    if problem.tags:
        return f"tags of {', '.join(tag[2:] for tag in problem.tags if tag[0] == 'B')}"
    return f"{problem.outputs} classes" if problem.outputs > 1 else "ratings"


def _able(learned: Learned, problem: Problem) -> list[str]:
    """The learners of conf/learner that take the problem without a trained head."""
    from metalingua.training.learners import build
    from metalingua.training.refusal import offered

    # no learner's config asks for more of the run's
    return [
        name
        for name, each in offered({"corpus": {"cache": ""}})
        if not (found := build(each)).needs_head
        and found.training == "meta"
        and not (found.refuses(problem) or found.reads_frequency)
        and (found.of_tokens or not problem.of_tokens)
        and (learned.encoder.rows or not found.needs_table)
    ]


def _pairs(X: Iterable[str], y: Iterable[Any]) -> tuple[list[str], list[Any]]:
    """Texts and labels as lists of one length. Raises EstimatorError."""
    if isinstance(X, str | bytes):
        raise EstimatorError(f"texts is one text, {X[:40]!r}: give a list of texts, with a label for each")
    if y is None or isinstance(y, str | bytes):
        raise EstimatorError("fit takes a list of texts and a list with a label for each")
    texts, labels = [_text(each, place) for place, each in enumerate(X)], _plain(y)
    if len(texts) != len(labels):
        raise EstimatorError(f"{len(texts)} texts and {len(labels)} labels: each text takes one label")
    if not texts:
        raise EstimatorError("no text is given: fit takes at least one for every class")
    for place, label in enumerate(labels):
        if label is None or (isinstance(label, float) and not math.isfinite(label)):
            raise EstimatorError(f"label {place} is {label!r}: leave its text out, or give it a label")
    return texts, labels


def _plain(y: Iterable[Any]) -> list[Any]:
    """Labels as Python's own objects. pandas' missing values are None."""
    plain = (each.item() if hasattr(each, "item") else each for each in y)
    return [None if type(each).__name__ in ("NAType", "NaTType") else each for each in plain]


def _text(text: Any, place: int) -> str:
    if not isinstance(text, str):
        raise EstimatorError(f"text {place} is {text!r}: it must be a string (a column of texts, not a table)")
    if not text.strip():
        raise EstimatorError(f"text {place} is empty: leave it out")
    return str(text)


def _one_type(labels: list[Any]) -> np.ndarray:
    """[items] of labels that can be told apart and put in order. Raises EstimatorError."""
    kinds = {type(each) for each in labels}
    if kinds == {int, float}:
        kinds, labels = {float}, [float(each) for each in labels]
    if len(kinds) > 1:
        raise EstimatorError(f"labels are of several types, {', '.join(sorted(k.__name__ for k in kinds))}: give one")
    if kinds - {str, int, bool, float}:
        raise EstimatorError(f"labels are {kinds.pop().__name__}s: they must be strings, whole numbers or true/false")
    if kinds == {float} and any(not each.is_integer() for each in labels):
        raise EstimatorError(
            "labels are numbers with a fraction, which are no classes: load(run, kind='regression') rates texts"
        )
    return np.array(labels)
