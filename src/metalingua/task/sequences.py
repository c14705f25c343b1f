"""Tasks whose items are tokens: words to tag, places where an answer begins and ends, words of a translation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from metalingua.corpus.corpus import Corpus
from metalingua.error import UserError
from metalingua.problem.problem import Problem
from metalingua.task.task import Half, Rule, Task
from metalingua.text.normal import position
from metalingua.text.tokenizer import Tokenizer

OF_KINDS = ("cuts", "rating", "classes", "ways", "beam")  # keys of a rule that some kinds have and others do not


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
    a class. What its kind has to say: `problem`, `read`, and in `of` its own fields.

    readings   [texts] how each is read, set once a tokenizer is fitted
    unread     texts of which no item can be: no support set has them, and of fixed queries nothing is found
    """

    readings: list[list[Reading]] = field(default_factory=list)
    unread: int = 0
    _read: np.ndarray = field(default_factory=lambda: np.empty(0, bool))  # [texts] whether an item of it is

    columns: ClassVar[tuple[str, ...]] = ()  # fields that hold something of every text
    takes: ClassVar[tuple[str, ...]] = ()  # of the keys of a rule that only some kinds have
    are: ClassVar[str] = ""  # what its rows are, to say why it does not take another one

    @classmethod
    def of(cls, name: str, rule: Rule, corpus: Corpus, held: Mapping[str, Sequence[Any]], **own: Any) -> Self:
        """`rule` applied to rows of `corpus`, column by column; `own` fields of the kind.

        Raises UserError for a key of the rule that is another kind's.
        """
        usual = Rule(rule.corpus)
        for key in OF_KINDS:
            if key not in cls.takes and getattr(rule, key) != getattr(usual, key):
                raise UserError(f"task {name}: {key} is given, and {rule.corpus} {cls.are}: take it out")
        fields: dict[str, Any] = {"classes": (), "title": rule.title or name, "note": rule.note or "", **own}
        fields |= {key: getattr(rule, key) for key in ("weight", "loss_weight", "metric", "shots", "queries")}
        texts = list(held["text"])
        labels = np.zeros(len(texts), dtype=np.int64)
        return cls(name, rule.corpus, corpus.domain, texts, labels, ways=1, **fields)

    @property
    def of_classes(self) -> bool:
        return False

    @property
    def problem(self) -> Problem:
        raise NotImplementedError

    def read(self, tokenizer: Tokenizer, max_length: int) -> Iterator[list[Reading]]:
        """How each text is read, in their order; none, or one without items, where nothing of a text can be."""
        raise NotImplementedError

    def encode(self, tokenizer: Tokenizer, max_length: int, known: dict[str, np.ndarray]) -> None:
        self.readings = list(self.read(tokenizer, max_length))
        self.tokens = [each[0].tokens if each else np.zeros(1, np.int32) for each in self.readings]
        self._read = np.array([any(len(part.places) for part in each) for each in self.readings], dtype=bool)
        self.unread = int((~self._read).sum())
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
        """Take the texts of `asked`, or `each` of them, the first by `position`, for queries of every episode."""
        assert isinstance(asked, type(self))  # made by the same rule
        chosen = np.arange(len(asked.texts))
        if each is not None:
            if len(chosen) < each:
                raise UserError(
                    f"task {self.name}: fixed_queries.each is {each}, and {asked.corpus} has {len(chosen)} texts "
                    "there: lower it, or widen fixed_queries.share"
                )
            chosen = np.sort(np.array([position(text) for text in asked.texts]).argsort(kind="stable")[:each])
        self.fixed, self.queries = len(self.texts) + np.arange(len(chosen)), len(chosen)
        for name in ("texts", *self.columns):
            getattr(self, name).extend(getattr(asked, name)[i] for i in chosen)
        self.labels = np.zeros(len(self.texts), np.int64)
        if (asked.corpus, asked.domain) != (self.corpus, self.domain):
            self.judged_on = (asked.corpus, asked.domain)

    def require(self, split: str, shots: int, queries: int) -> None:
        there = len(self._drawable)
        if there < shots + (0 if self.fixed is not None else queries):
            raise UserError(
                f"task.{split}.{self.name} has {there} texts; an episode takes task.shots + task.queries = "
                f"{shots + queries} of them: lower one, or widen the task's share{self._not_read}"
            )
        if self.fixed is not None and self.readings and not self._read[self.fixed].any():
            raise UserError(f"task.{split}.{self.name}: no text of its fixed_queries has a token; take other texts")

    @property
    def _drawable(self) -> np.ndarray:
        """The texts that an episode draws from; before a tokenizer is fitted, as if each had a token."""
        return self._free[self._read[self._free]] if self.readings else self._free

    @property
    def _not_read(self) -> str:
        """What to add where there are too few."""
        return f"; {self.unread} others have no token" if self.unread else ""
