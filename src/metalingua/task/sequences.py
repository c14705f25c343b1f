"""Tasks whose items are tokens: words to tag, places where an answer begins and ends, words of a translation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from metalingua.corpus.corpus import Corpus
from metalingua.error import UserError
from metalingua.problem.problem import Problem
from metalingua.task.task import Half, Rule, Task
from metalingua.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Reading:
    """One sequence of tokens as an encoder reads it, and its items. A long text may be several.

    places   [items] where in `tokens` each item stands
    labels   [items, ...] as the problem takes them
    gold     what the problem needs beside labels to judge the whole text, in its own form; None: nothing
    second   where in `tokens` the second part begins, of readings that have two
    """

    tokens: np.ndarray
    places: np.ndarray
    labels: np.ndarray
    text: str
    gold: Any = None
    second: int | None = None


@dataclass
class Sequences(Task):
    """A task of tokens: an episode draws `shots` texts to adapt on and `queries` texts to be judged on, not so many of
    a class. What its kind has to say: `of`, `problem`, `read`.

    readings   [texts] how each is read, set once a tokenizer is fitted
    """

    readings: list[list[Reading]] = field(default_factory=list)

    @classmethod
    def of(cls, name: str, rule: Rule, corpus: Corpus, held: Mapping[str, Sequence[Any]]) -> Self:
        """`rule` applied to rows of `corpus`, column by column. Raises UserError for what the kind cannot do."""
        raise NotImplementedError

    @property
    def problem(self) -> Problem:
        raise NotImplementedError

    def read(self, tokenizer: Tokenizer, max_length: int) -> Iterator[list[Reading]]:
        """How each text is read, in their order; none where nothing of a text can be: it is drawn for no episode."""
        raise NotImplementedError

    def encode(self, tokenizer: Tokenizer, max_length: int, known: dict[str, np.ndarray]) -> None:
        self.readings = list(self.read(tokenizer, max_length))
        self.tokens = [each[0].tokens if each else np.zeros(1, np.int32) for each in self.readings]
        self.name_tokens = []

    def chosen(self, dice: np.random.Generator, shots: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the support and of the query texts of an episode."""
        free = self._drawable
        drawn = dice.choice(free, shots + (queries if self.fixed is None else 0), replace=False)
        return drawn[:shots], drawn[shots:] if self.fixed is None else self.fixed

    def draw(self, dice: np.random.Generator, shots: int, queries: int, label_order: str) -> tuple[Problem, Half, Half]:
        support, query = self.chosen(dice, shots, queries)
        return self.problem, self.half(support), self.half(query)

    def half(self, texts: Sequence[int] | np.ndarray) -> Half:
        """The readings of `texts` as one half of an episode."""
        readings = [reading for text in texts for reading in self.readings[text]]
        at = [np.stack([np.full(len(each.places), i), each.places], 1) for i, each in enumerate(readings)]
        labels, seconds = self.labels_of(readings), [each.second for each in readings]
        return Half(
            [each.tokens for each in readings],
            [each.text for each in readings],
            labels,
            labels,
            np.concatenate(at).astype(np.int64),
            second=None if None in seconds else np.array(seconds, dtype=np.int64),
            gold=tuple(each.gold for each in readings),
        )

    def labels_of(self, readings: Sequence[Reading]) -> np.ndarray:
        """Labels of all items of `readings`, [items, ...]."""
        return np.concatenate([each.labels for each in readings])

    def fix_queries(self, asked: Task, each: int | None) -> None:
        """Take the first `each` texts of `asked` (all of them, if None) for queries of every episode."""
        raise UserError(f"task {self.name}: fixed_queries are not made for this kind of task: take them out")

    def require(self, split: str, shots: int, queries: int) -> None:
        if len(self._free) < shots + (0 if self.fixed is not None else queries):
            raise UserError(
                f"task.{split}.{self.name} has {len(self._free)} texts; an episode takes task.shots + task.queries = "
                f"{shots + queries} of them: lower one, or widen the task's share"
            )

    @property
    def _drawable(self) -> np.ndarray:
        return np.array([i for i in self._free if self.readings[i]])
