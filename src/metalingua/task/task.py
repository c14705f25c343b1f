"""A task: one problem on one corpus, with its label space."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from typing import Annotated, Any

import numpy as np

from metalingua.error import UserError
from metalingua.limit import Above, AtLeast, OneOf
from metalingua.problem.classification import Classification
from metalingua.problem.problem import Problem
from metalingua.problem.regression import Regression
from metalingua.text.noise import Noise
from metalingua.text.normal import position
from metalingua.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Half:
    """The support or the query texts that a task draws for an episode."""

    tokens: list[np.ndarray]  # ids of each text
    texts: list[str]  # as written
    labels: np.ndarray  # [items], as the episode's problem takes them
    own: np.ndarray  # [items], as the task has them
    at: np.ndarray | None = None  # [items, 2], text and place of each item where items are tokens; None: texts are
    noise: Noise | None = None  # that encoders read them with
    second: np.ndarray | None = None  # [texts] int64, where the second part of each text begins
    gold: Any = None  # as `Examples.gold`


@dataclass(frozen=True)
class FixedQueries:
    """Query texts that are the same in every episode of a task, whatever the seed: a test set.

    corpus   a name in task.corpora, of the same labels or ratings as the task's own; None: the task's own
    share    which part of its texts, as a `Rule` has it; the support set is drawn from others
    each     texts of each class, the first by the hash that makes shares; None: all, in the proportions they have
    yields   with task.leakage=drop, which of two texts that are alike is left out. False: the one that meta-validation
             or a support set may draw; True: the query, for support sets that are a few given texts
    """

    corpus: str | None = None
    share: Sequence[float] = (0.0, 1.0)
    each: Annotated[int, AtLeast(1)] | None = None
    yields: bool = False


@dataclass(frozen=True)
class Rule:
    """How a corpus becomes a task: an entry of task.meta_train, task.meta_validation or task.meta_test.

    corpus   a name in task.corpora
    cuts     where to cut ratings into classes, ascending: [0] is polarity, [-1, 1] is three-way; a rating on a cut
             belongs to the class below it
    rating   True: the task is the rating itself (regression)
    share    which part of the corpus's texts, as a half-open piece of 0 .. 1; texts fall into place by their hash
    classes  which of the corpus's labels: a split of classes is a corpus in two or three splits, with other classes
    domains  of a corpus whose texts say their domain (`columns.domain`): which, each a task of its own; None: all
    ways     classes an episode; task.ways unless given here
    shots, queries   support and query texts a class; task.shots and task.queries unless given here
    fixed_queries    in place of `queries` drawn anew for every episode: the keys of `FixedQueries`
    weight   how often meta-training draws the corpus, against the weights of others; of its tasks the largest counts
    loss_weight   what the loss of an episode counts in meta-training: kinds of answer have losses of other sizes
    metric   what tables are about, where not what they are for this kind of answer: macro_f1, pearson, chrf
    beam     of translations: hypotheses that are kept while one is made
    title, note   what a table calls the task, and what stands under the table
    """

    corpus: str
    cuts: Sequence[float] | None = None
    rating: bool = False
    share: Sequence[float] = (0.0, 1.0)
    classes: Sequence[str] | None = None
    domains: Sequence[str] | None = None
    ways: Annotated[int, AtLeast(2)] | None = None
    shots: Annotated[int, AtLeast(1)] | None = None
    queries: Annotated[int, AtLeast(1)] | None = None
    fixed_queries: FixedQueries | None = None
    weight: Annotated[float, Above(0)] = 1.0
    loss_weight: Annotated[float, Above(0)] = 1.0
    beam: Annotated[int, AtLeast(1)] = 4
    metric: Annotated[str, OneOf("macro_f1", "pearson", "bleu", "chrf")] | None = None
    title: str | None = None
    note: str | None = None


@dataclass
class Task:
    """Texts with labels, ready to draw episodes from.

    labels   [items]: class indices int64 for a classification task, ratings float64 for a regression task
    classes  names by class index; empty for regression
    names    what a reader would call the classes, by class index; None where they have no words: cut ratings, mere ids
    tokens, name_tokens   ids of each text and each name, set once a tokenizer is fitted
    fixed    [items] which of the texts are the queries of every episode; None: queries are drawn as the support is
    judged_on   corpus and domain of these, if they have others than the task
    """

    name: str
    corpus: str
    domain: str
    texts: list[str]
    labels: np.ndarray
    classes: tuple[str, ...]
    ways: int  # classes an episode draws; a regression task draws as many items as a `ways`-way one
    scale: tuple[float, float] | None = None
    title: str = ""
    note: str = ""
    weight: float = 1.0
    loss_weight: float = 1.0
    metric: str | None = None
    shots: int | None = None  # None: as many as all tasks of the run
    queries: int | None = None  # of fixed ones: their mean number a class
    names: tuple[str, ...] | None = None
    fixed: np.ndarray | None = None
    judged_on: tuple[str, str] | None = None
    tokens: list[np.ndarray] = field(default_factory=list)
    name_tokens: list[np.ndarray] = field(default_factory=list)

    @property
    def of_classes(self) -> bool:
        """Whether an episode has its shots of every class; else, of no class, as many items as a `ways`-way one."""
        return self.scale is None

    def fix_queries(self, asked: "Task", each: int | None) -> None:
        """Take the texts of `asked`, made by the same rule of the corpus that holds them, for queries of every episode.

        each   texts of each class, the first by `position`; None: all of them
        Raises UserError where a class has fewer, or where a rating has no class.
        """
        chosen = np.arange(len(asked.texts))
        if each is not None:
            if self.scale is not None:
                raise UserError(f"task {self.name}: ratings have no classes; take out fixed_queries.each")
            first = np.array([position(text) for text in asked.texts]).argsort(kind="stable")
            of_class = [first[asked.labels[first] == label] for label in range(len(self.classes))]
            for name, held in zip(self.classes, of_class, strict=True):
                if len(held) < each:
                    raise UserError(
                        f"task {self.name}: fixed_queries.each is {each}, and class {name!r} of {asked.corpus} has "
                        f"{len(held)} texts there: lower it, or widen fixed_queries.share"
                    )
            chosen = np.sort(np.concatenate([held[:each] for held in of_class]))
        self.fixed = len(self.texts) + np.arange(len(chosen))
        self.texts = [*self.texts, *(asked.texts[i] for i in chosen)]
        self.labels = np.concatenate([self.labels, asked.labels[chosen]])
        self.queries = max(1, round(len(chosen) / self.ways))  # a class, on average
        if (asked.corpus, asked.domain) != (self.corpus, self.domain):
            self.judged_on = (asked.corpus, asked.domain)

    def strings(self) -> Iterable[str]:
        """All that a tokenizer may learn from, where the task is one of meta-training."""
        return self.texts

    def encode(self, tokenizer: Tokenizer, max_length: int, known: dict[str, np.ndarray]) -> None:
        """Read every text with a fitted `tokenizer`; `known` are texts that other tasks of the run have read."""
        new = list(dict.fromkeys(text for text in self.texts if text not in known))
        known.update(zip(new, tokenizer.encode(new, max_length), strict=True))
        self.tokens = [known[text] for text in self.texts]
        self.name_tokens = tokenizer.encode(list(self.names or ()), max_length)

    @property
    def problem(self) -> Problem:
        kind = partial(Classification, self.ways) if self.scale is None else partial(Regression, *self.scale)
        return kind(metric=self.metric) if self.metric else kind()

    def by_class(self) -> list[np.ndarray]:
        """Indices of each class's items, fixed queries left out."""
        free = self._free
        return [free[self.labels[free] == label] for label in range(len(self.classes))]

    def draw(self, dice: np.random.Generator, shots: int, queries: int, label_order: str) -> tuple[Problem, Half, Half]:
        """The support and the query half of an episode, with `shots` and `queries` texts a class."""
        draw = self._draw_ratings if self.scale is not None else self._draw_classes
        return draw(dice, shots, queries, label_order)

    def called(self, half: Half) -> Half:
        """The names of the classes of an episode, an item each, in its label order; `half` is one of its halves."""
        labels, first = np.unique(half.labels, return_index=True)
        own = half.own[first]
        return Half([self.name_tokens[each] for each in own], [(self.names or ())[each] for each in own], labels, own)

    @cached_property
    def _free(self) -> np.ndarray:
        """Indices of the items that are drawn: all but fixed queries."""
        every = np.arange(len(self.texts))
        return every if self.fixed is None else np.setdiff1d(every, self.fixed)

    @cached_property
    def _members(self) -> list[np.ndarray]:
        return self.by_class()

    def _draw_classes(self, dice: np.random.Generator, shots: int, queries: int, label_order: str):
        """Equally many items of each of `ways` classes; labels in the task's order, or in a new order every episode."""
        classes = np.arange(len(self.classes))
        if self.ways < len(classes):
            classes = np.sort(dice.choice(classes, self.ways, replace=False))
        if label_order == "shuffled":
            classes = dice.permutation(classes)
        support, query = [], []
        for held in (self._members[c] for c in classes):
            drawn = dice.choice(held, shots + (queries if self.fixed is None else 0), replace=False)
            support.append(drawn[:shots])
            query.append(drawn[shots:])
        labels = np.arange(self.ways)
        asked, answers = np.concatenate(query), labels.repeat(queries)
        if self.fixed is not None:
            place = np.full(len(self.classes), -1)
            place[classes] = labels
            asked = self.fixed[place[self.labels[self.fixed]] >= 0]
            answers = place[self.labels[asked]]
        return (
            self.problem,
            self._half(np.concatenate(support), labels.repeat(shots)),
            self._half(asked, answers),
        )

    def _draw_ratings(self, dice: np.random.Generator, shots: int, queries: int, label_order: str):
        """As many items as a classification episode of the same `ways` has."""
        shots, queries = self.ways * shots, self.ways * queries if self.fixed is None else 0
        drawn = dice.choice(self._free, shots + queries, replace=False)
        asked = drawn[shots:] if self.fixed is None else self.fixed
        halves = (self._half(items, self.labels[items]) for items in (drawn[:shots], asked))
        return self.problem, *halves

    def _half(self, items: np.ndarray, labels: np.ndarray) -> Half:
        tokens, texts = [self.tokens[i] for i in items], [self.texts[i] for i in items]
        return Half(tokens, texts, labels, self.labels[items])

    def require(self, split: str, shots: int, queries: int) -> None:
        """Raise UserError unless every class holds as many texts as an episode draws, and there are fixed queries if
        queries are to be fixed."""
        if self.metric and self.metric != (kind := "macro_f1" if self.scale is None else "pearson"):
            raise UserError(f"task.{split}.{self.name}.metric is {self.metric}; of this kind of task it can be {kind}")
        if self.metric == "macro_f1" and self.ways < len(self.classes):
            raise UserError(
                f"task.{split}.{self.name}.metric is macro_f1, and an episode has {self.ways} of {len(self.classes)} "
                "classes: a class has no place of its own then; set its ways to all of them, or metric to null"
            )
        drawn, items, lower = "task.shots + task.queries", shots + queries, "one of them"
        if self.fixed is not None:
            drawn, items, lower = "its shots", shots, "them"
        if self.fixed is not None and not len(self.fixed):
            raise UserError(
                f"task.{split}.{self.name}.fixed_queries holds no text: widen its share, or take another corpus"
            )
        if self.scale is not None:
            if len(self._free) < self.ways * items:
                raise UserError(
                    f"task.{split}.{self.name} has {len(self._free)} texts; a regression episode takes "
                    f"ways * ({drawn}) = {self.ways} * {items} = {self.ways * items}: lower {lower}"
                )
            return
        present = [name for name, held in zip(self.classes, self.by_class(), strict=True) if len(held)]
        if len(present) < 2:
            raise UserError(
                f"task.{split}.{self.name} has one class ({', '.join(present) or 'no text at all'}) in corpus "
                f"{self.corpus}; telling classes apart needs two: widen its share, move its cuts, or leave the task out"
            )
        for name, held in zip(self.classes, self.by_class(), strict=True):
            if len(held) < items:
                raise UserError(
                    f"task.{split}.{self.name}: class {name!r} holds {len(held)} texts; {drawn} = {items}: "
                    f"lower {lower}, widen the task's share, or move its cuts"
                )


def make_task(
    name: str,
    rule: Rule,
    *,
    domain: str,
    texts: list[str],
    labels: Sequence[str] | None,
    ratings: np.ndarray | None,
    label_set: Sequence[str] | None,
    scale: Sequence[float] | None,
    ways: int,
    label_words: Mapping[str, str] | None = None,
) -> Task:
    """`rule` applied to `texts` of its corpus.

    labels, label_set   of a corpus with labels: each text's, and all there are in their order
    label_words         of some of these: what to call them
    ratings, scale      of a corpus with ratings: each text's, and the lowest and highest there can be
    ways                of an episode, unless the rule has its own
    """
    if rule.beam != Rule(rule.corpus).beam:
        raise UserError(f"task {name}: beam is {rule.beam}, and {rule.corpus} is not translated: take it out")
    task = partial(
        Task,
        name,
        rule.corpus,
        domain,
        texts,
        ways=rule.ways or ways,
        title=rule.title or name,
        note=rule.note or "",
        weight=rule.weight,
        loss_weight=rule.loss_weight,
        metric=rule.metric,
        shots=rule.shots,
        queries=rule.queries,
    )
    if ratings is None:
        chosen = [str(label) for label in (label_set or () if rule.classes is None else rule.classes)]
        index = {label: i for i, label in enumerate(chosen)}
        return task(
            labels=np.array([index[label] for label in labels or ()]),
            classes=tuple(index),
            names=called(chosen, label_words or {}),
        )
    low, high = (float(end) for end in scale or (ratings.min(), ratings.max()))
    if rule.rating:
        return task(labels=ratings, classes=(), scale=(low, high))
    cuts = list(rule.cuts or ())
    classes = tuple(f"{below:g} to {above:g}" for below, above in pairwise([low, *cuts, high]))
    return task(labels=np.searchsorted(cuts, ratings, side="left"), classes=classes)


def called(labels: Sequence[str], words: Mapping[str, str]) -> tuple[str, ...] | None:
    """`words` of a label, or itself with spaces for underscores and hyphens; None if a name has no letter in it."""
    names = tuple(words.get(label, label.replace("_", " ").replace("-", " ")) for label in labels)
    return names if all(any(letter.isalpha() for letter in name) for name in names) else None
