"""Episodes: draws from tasks. Episode i of a split is a pure function of (seed, split, i)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from metalingua.problem.classification import Classification
from metalingua.problem.problem import Problem
from metalingua.task.task import Task
from metalingua.text.batch import Inputs, pad


@dataclass(frozen=True)
class Examples:
    """Texts with what they should be answered."""

    problem: Problem
    inputs: Inputs  # `tokens` index the episode's `rows`
    targets: Tensor  # [items], as the problem's loss wants them
    labels: np.ndarray  # [items], the task's own labels: class indices of the task, or ratings


@dataclass(frozen=True)
class Episode:
    """A support set to adapt on and a query set to be judged on.

    rows   [distinct tokens] int64, ascending: the token ids that occur, so a task needs only these rows of the
           embedding table. `inputs.tokens` count in `rows`; rows[0] is padding.
    """

    split: str
    index: int
    task: str
    rows: Tensor
    support: Examples
    query: Examples


class Episodes:
    """All episodes of one split, by index; nothing is stored.

    Meta-training draws a corpus, then one of its tasks, so that a corpus with many tasks is not met more often.
    Validation and test take their tasks in turn, so that each gets equally many episodes.

    frequency   [vocabulary] each token's share of the tokens of meta-training text (`metalingua.task.tasks.frequency`);
                None leaves `Inputs.frequency` None, and a learner that needs it says so
    """

    def __init__(
        self,
        split: str,
        tasks: Sequence[Task],
        *,
        seed: int,
        shots: int,
        queries: int,
        label_order: str,
        frequency: Tensor | None = None,
    ):
        self.split, self.tasks, self.seed = split, list(tasks), seed
        self.shots, self.queries, self.label_order, self.frequency = shots, queries, label_order, frequency
        self._corpora = [
            [task for task in self.tasks if task.corpus == name] for name in dict.fromkeys(t.corpus for t in self.tasks)
        ]
        self._by_class = {task.name: task.by_class() for task in self.tasks}

    def __getitem__(self, index: int) -> Episode:
        dice = np.random.default_rng([self.seed, crc32(self.split.encode()), index])
        if self.split == "meta_train":
            corpus = self._corpora[dice.integers(len(self._corpora))]
            task = corpus[dice.integers(len(corpus))]
        else:
            task = self.tasks[index % len(self.tasks)]
        draw = self._draw_ratings if task.scale is not None else self._draw_classes
        problem, support, query = draw(task, dice)
        tokens = np.concatenate([task.tokens[i] for i in (*support[0], *query[0])])
        occurs = np.zeros(tokens.max() + 1, dtype=bool)  # by token id
        occurs[0] = occurs[tokens] = True
        rows, place = np.flatnonzero(occurs), occurs.cumsum() - 1  # a sixth of the time of unique and searchsorted
        halves = (self._examples(task, problem, rows, place, *half) for half in (support, query))
        return Episode(self.split, index, task.name, torch.from_numpy(rows), *halves)

    def _draw_classes(self, task: Task, dice: np.random.Generator):
        """Equally many items of each of `ways` classes; labels in the task's order, or in a new order every episode."""
        classes = np.arange(len(task.classes))
        if task.ways < len(classes):
            classes = np.sort(dice.choice(classes, task.ways, replace=False))
        if self.label_order == "shuffled":
            classes = dice.permutation(classes)
        support, query = [], []
        for held in (self._by_class[task.name][c] for c in classes):
            drawn = dice.choice(held, self.shots + self.queries, replace=False)
            support.append(drawn[: self.shots])
            query.append(drawn[self.shots :])
        labels = np.arange(task.ways)
        return (
            Classification(task.ways),
            (np.concatenate(support), labels.repeat(self.shots)),
            (np.concatenate(query), labels.repeat(self.queries)),
        )

    def _draw_ratings(self, task: Task, dice: np.random.Generator):
        """As many items as a classification episode of the same `ways` has."""
        shots, queries = task.ways * self.shots, task.ways * self.queries
        drawn = dice.choice(len(task.texts), shots + queries, replace=False)
        return task.problem, (drawn[:shots], task.labels[drawn[:shots]]), (drawn[shots:], task.labels[drawn[shots:]])

    def _examples(
        self,
        task: Task,
        problem: Problem,
        rows: np.ndarray,
        place: np.ndarray,  # of each token id in `rows`
        items: np.ndarray,
        labels: np.ndarray,
    ) -> Examples:
        inputs = pad([place[task.tokens[i]] for i in items], [task.texts[i] for i in items])
        frequency = None if self.frequency is None else self.frequency[rows]
        inputs = replace(inputs, frequency=frequency, ids=torch.from_numpy(rows))
        return Examples(problem, inputs, problem.targets(labels), task.labels[items])
