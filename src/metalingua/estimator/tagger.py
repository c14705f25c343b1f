"""What a run on tagged words learned, as an estimator: fit on a few sentences with their tags, tag others.

tagger = metalingua.load("outputs/ner_social/0123456789ab")
tagger.fit([["Ada", "lives", "in", "Kyoto"]], [["B-PER", "O", "O", "B-LOC"]]).predict([["Kyoto", "is", "far"]])
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from metalingua.estimator.few_shot import FewShot
from metalingua.estimator.given import EstimatorError
from metalingua.estimator.learned import Learned
from metalingua.problem.problem import Problem
from metalingua.problem.tagging import OUTSIDE, Tagging, entities, fault
from metalingua.result.metric import f1
from metalingua.text.batch import Inputs, pad

Words = list[str]


class FewShotTagger(FewShot):
    """A tagger of words, adapted to new types of entities by a few tagged sentences: `metalingua.load(run)` makes it.

    learned     what a run learned; shared by all clones, and never changed by fit
    types       of entities. A learner that answers by a trained head takes the one of these names, or one of as many
                types: `types` are yours then for those of meta-training, in their order. None: those of `fit`
    settings    of the learner, in place of those that the run chose on meta-validation: {"steps": 10}
    batch_size  sentences that are tagged together

    After fit: `types_`; `cut_`, how many sentences were longer than the model reads; `adapted_`, as of the classifier.
    """

    kind = "tagging"

    def __init__(
        self,
        learned: Learned,
        types: Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        batch_size: int = 64,
    ):
        self.learned, self.types, self.settings, self.batch_size = learned, types, settings, batch_size

    def fit(self, X: Iterable[Sequence[str]], y: Iterable[Sequence[str]]) -> Self:
        """Adapt to sentences `X`, lists of words, with a tag for each word: O, B-TYPE or I-TYPE (IOB2).

        Raises ValueError, saying what to change.
        """
        sentences, tags = _pairs(X, y)
        there = sorted({tag[2:] for each in tags for tag in each if tag != OUTSIDE})
        if isinstance(self.types, str):
            raise EstimatorError(f"types is {self.types!r}: give a list of names, [{self.types!r}]")
        types = there if self.types is None else [str(kind) for kind in self.types]
        if not types:
            raise EstimatorError("no word is tagged as an entity: give sentences that have some")
        if unknown := [kind for kind in there if kind not in types]:
            raise EstimatorError(f"types is {types}, and words are tagged {', '.join(unknown)}: name these too")
        problem = Tagging(tuple(types))
        learner = self._learner_for(problem)
        self.cut_ = 0
        inputs, read = self._words(sentences)
        if not len(inputs):
            raise EstimatorError("no word of these sentences is one that the model reads: give others")
        labels = [problem.labels(each)[:count] for each, count in zip(tags, read, strict=True)]
        self._adapt(learner, inputs, np.concatenate(labels), problem)
        self.types_ = types
        return self

    def predict(self, X: Iterable[Sequence[str]]) -> list[Words]:
        """A tag for every word of every sentence; O for words that were not read, behind the end of what is."""
        check_is_fitted(self, "problem_")
        assert isinstance(self.problem_, Tagging)
        found: list[Words] = []
        for sentences in self._sentences(X):
            inputs, read = self._words(sentences)
            tags = np.empty(0, np.int64)
            if inputs.at is not None and len(inputs):
                with torch.no_grad():
                    outputs = self._ready(inputs).outputs(inputs)
                tags = self.problem_.predictions(outputs, inputs.at[:, 0].numpy())
            for words, some in zip(sentences, np.split(tags, np.cumsum(read)[:-1]), strict=True):
                said = [self.problem_.tags[tag] for tag in some]
                found.append(said + [OUTSIDE] * (len(words) - len(said)))
        return found

    def score(self, X: Iterable[Sequence[str]], y: Iterable[Sequence[str]]) -> float:
        """Entity F1, 0 to 1: an entity is right if its words and its type are (Tjong Kim Sang & De Meulder 2003,
        section 2.3)."""
        sentences, tags = _pairs(X, y)
        everything = Tagging(
            tuple(sorted({*self.types_, *(tag[2:] for each in tags for tag in each if tag != OUTSIDE)}))
        )
        counts = np.zeros(3)
        for said, gold in zip(self.predict(sentences), tags, strict=True):
            ours, theirs = (set(entities(everything.labels(each))) for each in (said, gold))
            counts += len(ours & theirs), len(ours), len(theirs)
        return float(f1(counts))

    def _words(self, sentences: Sequence[Words]) -> tuple[Inputs, list[int]]:
        """One padded batch whose items are words, and how many words of each sentence are read. Sentences of which
        none is are left out of the batch."""
        found = self.learned.reader.words(sentences, self.learned.max_length)
        read = [len(places) for _, places in found]
        cut = sum(count < len(words) for count, words in zip(read, sentences, strict=True))
        most = f"{self.learned.max_length} tokens, as many as this model reads"
        self._count(cut, f"sentences of more than {most}, are cut at their end, and words there are O", 4)
        whole = [
            (tokens, places, words) for (tokens, places), words in zip(found, sentences, strict=True) if len(places)
        ]
        if not whole:
            return Inputs(torch.empty(0, 0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), ()), read
        at = [np.stack([np.full(len(places), i), places], 1) for i, (_, places, _) in enumerate(whole)]
        texts = [" ".join(words[: len(places)]) for _, places, words in whole]
        inputs = pad([tokens for tokens, _, _ in whole], texts)
        return replace(inputs, at=torch.from_numpy(np.concatenate(at).astype(np.int64))), read

    def _sentences(self, X: Iterable[Sequence[str]]) -> Iterator[list[Words]]:
        if X is None or isinstance(X, str | bytes):
            raise EstimatorError(f"sentences is {str(X)[:40]!r}: give a list of sentences, each a list of words")
        given = (_sentence(each, place) for place, each in enumerate(X))
        size = None if self._support is not None else self.batch_size
        while batch := list(itertools.islice(given, size)):
            yield batch

    def outputs(self, texts: Iterable[str]) -> np.ndarray:
        raise EstimatorError("words have tags, and a sentence has no output of its own: predict has them")

    def _head(self, problem: Problem) -> str:
        same = super()._head(problem)
        if same or self.types is None:
            return same
        rows = {name: self.learned.params.get(f"head.{name}.weight") for name in self.learned.heads}
        alike = [name for name, weight in rows.items() if weight is not None and len(weight) == problem.outputs]
        return alike[0] if len(alike) == 1 else ""

    def _way_out(self, problem: Problem) -> str:
        return (
            "Tag with the types that meta-training had, as its names say, or say which of yours are these, in their "
            f"order: set_params(types=[...]). Else {super()._way_out(problem)}"
        )

    def _facts(self) -> dict[str, Any]:
        return {"types": self.types_, "cut": self.cut_}

    def _recall(self, facts: Mapping[str, Any]) -> None:
        self.types_, self.cut_ = list(facts["types"]), facts["cut"]
        self.problem_ = Tagging(tuple(self.types_))


def _sentence(words: Any, place: int) -> Words:
    if isinstance(words, str | bytes):
        raise EstimatorError(
            f"sentence {place} is a text, {words[:40]!r}: give a list of its words, such as text.split()"
        )
    found = list(words)
    if not found:
        raise EstimatorError(f"sentence {place} has no words: leave it out")
    for word in found:
        if not isinstance(word, str) or not word.strip() or len(word.split()) > 1:
            raise EstimatorError(f"sentence {place} has the word {word!r}: a word is a string without blanks")
    return [str(word) for word in found]


def _pairs(X: Iterable[Sequence[str]], y: Iterable[Sequence[str]]) -> tuple[list[Words], list[Words]]:
    """Sentences and tags, of one length each. Raises EstimatorError."""
    if any(isinstance(each, str | bytes) for each in (X, y)) or y is None:
        raise EstimatorError("fit takes a list of sentences, each a list of words, and as many lists of tags")
    sentences, tags = [_sentence(each, place) for place, each in enumerate(X)], [[*map(str, each)] for each in y]
    if not sentences:
        raise EstimatorError("no sentence is given: fit takes one at least")
    if len(sentences) != len(tags):
        raise EstimatorError(f"{len(sentences)} sentences and {len(tags)} lists of tags: each sentence takes one")
    for place, (words, some) in enumerate(zip(sentences, tags, strict=True)):
        if len(words) != len(some):
            raise EstimatorError(f"sentence {place} has {len(words)} words and {len(some)} tags: each word takes one")
        if wrong := fault(some):
            raise EstimatorError(f"sentence {place}, word {wrong[0]}: {wrong[1]}")
    return sentences, tags
