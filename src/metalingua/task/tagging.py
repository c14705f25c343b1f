"""Tagging as a task: sentences whose words are tagged, one item a word."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from metalingua.corpus.corpus import Corpus
from metalingua.error import UserError
from metalingua.problem.tagging import METRIC, OUTSIDE, Tagging
from metalingua.task.sequences import Reading, Sequences
from metalingua.task.task import Rule, Task
from metalingua.text.tokenizer import Tokenizer


@dataclass
class TaggedTask(Sequences):
    """An episode's `shots` sentences to adapt on have every entity type at least once; its `queries` are any others.

    classes      the entity types. What is of another type is O
    words, tags  of each sentence; its text is the words with blanks between
    cut          sentences that are longer than max_length tokens, set once a tokenizer is fitted: their last words are
                 not read, and entities there are not found
    """

    words: list[list[str]] = field(default_factory=list)
    tags: list[list[str]] = field(default_factory=list)
    cut: int = 0

    columns = ("words", "tags")
    takes = ("classes",)
    are = "has tagged words"

    @classmethod
    def of(cls, name: str, rule: Rule, corpus: Corpus, held: Mapping[str, Sequence[Any]], **own: Any) -> Self:
        if rule.metric not in (None, METRIC):
            raise UserError(f"task {name}: metric is {rule.metric}; entities are judged by {METRIC}")
        there = sorted({tag[2:] for tags in held["tags"] for tag in tags if tag != OUTSIDE})
        types = tuple(str(kind) for kind in (rule.classes or corpus.labels or there))
        if not types:
            raise UserError(f"task {name}: no word of corpus {corpus.name} is tagged as an entity; leave the task out")
        own = {"classes": types, "words": list(held["words"]), "tags": list(held["tags"])}
        return super().of(name, rule, corpus, held, **own)

    @property
    def problem(self) -> Tagging:
        return Tagging(self.classes)

    def fix_queries(self, asked: Task, each: int | None) -> None:
        if new := [kind for kind in asked.classes if kind not in self.classes]:
            raise UserError(
                f"task {self.name}: {asked.corpus} has entities of type {', '.join(new)}, and {self.corpus} has none; "
                "name those to tag (classes, or the corpora's labels)"
            )
        super().fix_queries(asked, each)

    def read(self, tokenizer: Tokenizer, max_length: int) -> Iterator[list[Reading]]:
        problem, self.cut = self.problem, 0
        for i, (tokens, places) in enumerate(tokenizer.words(self.words, max_length)):
            labels, read = problem.labels(self.tags[i]), len(places)
            self.cut += 0 < read < len(labels)
            text = self.texts[i] if read == len(labels) else " ".join(self.words[i][:read])
            tokens = tokens if len(tokens) else np.zeros(1, np.int32)
            yield [Reading(tokens, places, labels[:read], text, gold=tuple(labels.tolist()))]

    def encode(self, tokenizer: Tokenizer, max_length: int, known: dict[str, np.ndarray]) -> None:
        super().encode(tokenizer, max_length, known)
        has = np.zeros((len(self.texts), len(self.classes)), bool)
        for i in self._drawable:
            labels = self.readings[i][0].labels
            has[i, (labels[labels % 2 == 1] - 1) // 2] = True
        self._has = [np.flatnonzero(column) for column in has.T]  # by type, the sentences that it is drawn from
        self._types_of = [np.flatnonzero(row) for row in has]
        self._rare_first = np.argsort([len(each) for each in self._has], kind="stable")
        if not all(len(each) for each in self._has):
            lost = self.classes[self._rare_first[0]]
            raise UserError(
                f"task {self.name}: all entities of type {lost!r} stand behind task.max_length={max_length} tokens: "
                "raise it, or leave the type out (classes)"
            )

    def chosen(self, dice: np.random.Generator, shots: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
        """The support is drawn for the rarest type first, for each that is not there yet; the rest is any sentences."""
        drawn, covered = list[int](), set[int]()
        for kind in self._rare_first:
            if kind not in covered:
                drawn.append(int(dice.choice(self._has[kind])))
                covered.update(self._types_of[drawn[-1]].tolist())
        free = np.setdiff1d(self._drawable, drawn)
        rest = dice.choice(free, shots - len(drawn) + (queries if self.fixed is None else 0), replace=False)
        more, query = np.split(rest, [shots - len(drawn)])
        return np.array([*drawn, *more]), query if self.fixed is None else self.fixed

    def require(self, split: str, shots: int, queries: int) -> None:
        super().require(split, shots, queries)
        if shots < len(self.classes):
            raise UserError(
                f"task.{split}.{self.name}: shots is {shots}, and {len(self.classes)} entity types are each in one "
                f"sentence at least of those to adapt on: raise shots to {len(self.classes)}, or name fewer types "
                "(classes)"
            )
        there = {tag[2:] for i in self._free for tag in self.tags[i] if tag != OUTSIDE}
        if lost := [kind for kind in self.classes if kind not in there]:
            raise UserError(
                f"task.{split}.{self.name}: no sentence of corpus {self.corpus} has an entity of type "
                f"{', '.join(lost)}, which is to be adapted to; leave it out (classes), or widen the task's share"
            )
