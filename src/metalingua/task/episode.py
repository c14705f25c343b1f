"""Episodes: draws from tasks. Episode i of a split is a pure function of (seed, split, i)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from metalingua.problem.problem import Problem
from metalingua.task.task import Half, Task
from metalingua.task.unlabelled import Unlabelled
from metalingua.text.batch import Inputs, pad


@dataclass(frozen=True)
class Examples:
    """Texts with what they should be answered."""

    problem: Problem
    inputs: Inputs  # `tokens` index the episode's `rows`
    targets: Tensor  # [items], as the problem's loss wants them
    labels: np.ndarray  # [items], the task's own labels: class indices of the task, or ratings
    names: Inputs | None = None  # [ways], what the classes are called; None: nobody asked, or they have no words
    gold: Any = None  # the right answer of each text in the problem's own form, where targets do not say all


@dataclass(frozen=True)
class Episode:
    """A support set to adapt on and a query set to be judged on.

    rows   [distinct tokens] int64, ascending: the token ids that occur, so a task needs only these rows of the
           embedding table; all ids where the answer may be any token. `inputs.tokens` count in `rows`; rows[0] is
           padding.
    """

    split: str
    index: int
    task: str
    rows: Tensor
    support: Examples
    query: Examples
    loss_weight: float = 1.0  # of its loss in meta-training


class Episodes:
    """All episodes of one split, by index; nothing is stored.

    Meta-training draws a corpus, then one of its tasks, so that a corpus with many tasks is not met more often; how
    often, the `weight` of tasks says.
    Validation and test take their tasks in turn, so that each gets equally many episodes.

    shots, queries   texts a class, of tasks that do not say themselves
    frequency   [vocabulary] each token's share of the tokens of meta-training text (`metalingua.task.tasks.frequency`);
                None leaves `Inputs.frequency` None, and a learner that needs it says so
    names       whether `Examples.names` are given, where the classes have words; `rows` hold their tokens then
    """

    def __init__(
        self,
        split: str,
        tasks: Sequence[Task | Unlabelled],
        *,
        seed: int,
        shots: int,
        queries: int,
        label_order: str,
        frequency: Tensor | None = None,
        names: bool = False,
    ):
        self.split, self.tasks, self.seed = split, list(tasks), seed
        self.shots, self.queries, self.label_order, self.frequency = shots, queries, label_order, frequency
        self.names = names
        self._corpora = [
            [task for task in self.tasks if task.corpus == name] for name in dict.fromkeys(t.corpus for t in self.tasks)
        ]
        weights = np.array([max(task.weight for task in corpus) for corpus in self._corpora])
        self._shares = None if len(set(weights)) == 1 else weights / weights.sum()  # None: the same for all

    def __getitem__(self, index: int) -> Episode:
        dice = np.random.default_rng([self.seed, crc32(self.split.encode()), index])
        if self.split == "meta_train":
            count = len(self._corpora)
            corpus = self._corpora[dice.integers(count) if self._shares is None else dice.choice(count, p=self._shares)]
            task = corpus[dice.integers(len(corpus))]
        else:
            task = self.tasks[index % len(self.tasks)]
        problem, *halves = task.draw(dice, task.shots or self.shots, task.queries or self.queries, self.label_order)
        called = [task.called(halves[0])] if self.names and isinstance(task, Task) and task.names else []
        tokens = np.concatenate([each for half in (*halves, *called) for each in half.tokens])
        occurs = np.full(problem.outputs if problem.tied else tokens.max() + 1, problem.tied)  # by token id
        occurs[0] = occurs[tokens] = True
        rows, place = np.flatnonzero(occurs), occurs.cumsum() - 1  # a sixth of the time of unique and searchsorted
        inputs = [self._inputs(rows, place, half) for half in (*halves, *called)]
        names = inputs[2] if called else None
        support, query = (
            Examples(problem, each, problem.targets(half.labels), half.own, names, half.gold)
            for each, half in zip(inputs[:2], halves, strict=True)
        )
        return Episode(self.split, index, task.name, torch.from_numpy(rows), support, query, task.loss_weight)

    def _inputs(self, rows: np.ndarray, place: np.ndarray, half: Half) -> Inputs:
        """`half` with tokens that count in `rows`; `place` is that of each token id there."""
        inputs = pad([place[tokens] for tokens in half.tokens], half.texts)
        frequency = None if self.frequency is None else self.frequency[rows]
        at, second = (None if each is None else torch.from_numpy(each) for each in (half.at, half.second))
        return replace(inputs, frequency=frequency, ids=torch.from_numpy(rows), at=at, noise=half.noise, second=second)
