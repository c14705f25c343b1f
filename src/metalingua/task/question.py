"""Extractive question answering as a task: questions on the contexts of one article, domain or language."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np

from metalingua.corpus.corpus import Corpus
from metalingua.error import UserError
from metalingua.problem.span import Span, Window
from metalingua.task.sequences import Reading, Sequences
from metalingua.task.task import Rule, Task
from metalingua.text.pairs import Pair
from metalingua.text.tokenizer import Tokenizer

LONGEST = 30  # tokens of an answer, as BERT's run_squad.py has it


@dataclass
class Questions(Sequences):
    """An episode is `shots` questions with their answers and `queries` questions on other contexts; `texts` are the
    contexts, one a question.

    questions, answers, starts   [texts] what is asked, every right answer, and where in the context each begins
    """

    questions: list[str] = field(default_factory=list)
    answers: list[list[str]] = field(default_factory=list)
    starts: list[list[int]] = field(default_factory=list)

    columns = ("questions", "answers", "starts")
    are = "has questions, whose answers are pieces of a text"

    @classmethod
    def of(cls, name: str, rule: Rule, corpus: Corpus, held: Mapping[str, Sequence[Any]], **own: Any) -> Self:
        own = {"questions": list(held["question"]), "answers": list(held["answers"]), "starts": list(held["starts"])}
        return super().of(name, rule, corpus, held, **own)

    @property
    def problem(self) -> Span:
        abstains = not all(self.answers)
        return Span(LONGEST, abstains, self.metric) if self.metric else Span(LONGEST, abstains)

    def strings(self) -> Iterable[str]:
        yield from self.texts
        yield from self.questions

    def read(self, tokenizer: Tokenizer, max_length: int) -> Iterator[list[Reading]]:
        """Question and context as one, in windows. The target of a window is the first of the right answers, or "no
        answer here" where the window does not have all of it."""
        number = 0
        windows = tokenizer.pairs(self.questions, self.texts, max_length)
        for i, pairs in enumerate(windows):
            readings = []
            for pair in pairs:
                gold = Window(i, self.texts[i], pair.begins, pair.ends, tuple(self.answers[i]))
                places = np.concatenate([[0], np.arange(pair.second, pair.stop)]).astype(np.int32)
                labels = np.array([[number, *self._target(i, pair)]], dtype=np.int64)
                readings.append(Reading(pair.tokens, places, labels, self.questions[i], gold, pair.second))
                number += 1
            yield readings

    def labels_of(self, readings: Sequence[Reading]) -> np.ndarray:
        """A reading keeps number, begin and end of its target alone."""
        made = []
        for reading in readings:
            number, begin, end = reading.labels[0]
            labels = np.zeros((len(reading.places), 3), dtype=np.int64)
            labels[:, 0] = number
            labels[begin, 1] = labels[end, 2] = 1
            made.append(labels)
        return np.concatenate(made)

    def chosen(self, dice: np.random.Generator, shots: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
        """Support and query questions of different contexts."""
        contexts = self._contexts
        order = dice.permutation(len(contexts))
        held = np.cumsum([len(contexts[each]) for each in order])
        fewest = np.searchsorted(held, shots) + 1  # contexts that have enough for the support set
        most = np.searchsorted(held, held[-1] - queries, side="right")  # and leave enough for the queries
        first = int(np.clip(round(len(order) * shots / (shots + queries)), fewest, most))
        parts = (np.concatenate([contexts[each] for each in part]) for part in (order[:first], order[first:]))
        support, query = (dice.choice(part, n, replace=False) for part, n in zip(parts, (shots, queries), strict=True))
        return support, query

    def fix_queries(self, asked: Task, each: int | None) -> None:
        raise UserError(f"task {self.name}: fixed_queries are not made for questions: take them out")

    def require(self, split: str, shots: int, queries: int) -> None:
        """Whatever contexts are drawn, there must be enough questions on the others."""
        drawable = self._drawable
        most = max(Counter(self.texts[i] for i in drawable).values(), default=1)
        need = shots + queries + most - 1
        if len(drawable) < need:
            raise UserError(
                f"task.{split}.{self.name} has {len(drawable)} questions; an episode takes task.shots + task.queries "
                f"= {shots + queries} of them, of different contexts in support and query, and one context has "
                f"{most}: {need} are needed; lower one, or widen the task's share{self._not_read}"
            )

    def _target(self, question: int, pair: Pair) -> tuple[int, int]:
        """The items where the answer begins and ends in a window: 0 and 0 where it is not all there."""
        if not self.answers[question]:
            return 0, 0
        start = self.starts[question][0]
        stop = start + len(self.answers[question][0])
        inside = np.flatnonzero((pair.ends > start) & (pair.begins < stop))
        if not len(inside) or pair.begins[inside[0]] > start or pair.ends[inside[-1]] < stop:
            return 0, 0
        return 1 + int(inside[0]), 1 + int(inside[-1])

    @cached_property
    def _contexts(self) -> list[np.ndarray]:
        """The questions that can be drawn, those of one context together."""
        found: dict[str, list[int]] = {}
        for i in self._drawable:
            found.setdefault(self.texts[i], []).append(int(i))
        return [np.array(each) for each in found.values()]
