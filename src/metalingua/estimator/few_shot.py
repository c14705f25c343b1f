"""What a run learned for people with a list of texts, as scikit-learn has it: fit on a few labels, predict the others.

    estimator = metalingua.load("outputs/sentiment/0123456789ab")
    estimator.fit(["a joy", "dull"], ["good", "bad"]).predict(["what a joy"])

The same learner, parameters and settings as in the run's table: on an episode's texts the outputs are the run's.
"""

import itertools
import numbers
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from metalingua.estimator.given import EstimatorError, text_at
from metalingua.estimator.learned import Learned
from metalingua.learner.learner import Learner, Predictor
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples
from metalingua.task.task import called
from metalingua.text.batch import Inputs, pad

KINDS = ("classification", "regression", "tagging")


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
        with one_thread():
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
        self._count(cut, f"texts of more than {most} tokens, as many as this model reads, are cut at their end", 5)
        return pad(ids, texts)

    def _count(self, cut: int, told: str, stacklevel: int) -> None:
        """Add to `cut_`, and warn of the first."""
        if cut and not self.cut_:
            warnings.warn(f"{told}; cut_ of the estimator counts them", stacklevel=stacklevel)
        self.cut_ += cut

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
        given = (text_at(each, place) for place, each in enumerate(texts))
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


@contextmanager
def one_thread() -> Iterator[None]:
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
