"""Jigsaw tasks: the pieces of a text in another order (the text form of Noroozi & Favaro 2016, arXiv:1603.09246)."""

from dataclasses import dataclass
from itertools import permutations
from math import factorial
from typing import Annotated

import numpy as np

from metalingua.limit import AtLeast, AtMost
from metalingua.problem.classification import Classification
from metalingua.task.task import Half
from metalingua.task.unlabelled import Unlabelled
from metalingua.text.tokenizer import Tokenizer


@dataclass(kw_only=True, eq=False)
class Jigsaw(Unlabelled):
    """`pieces` sentences that follow each other in a text, in another order: which order is it?

    An episode draws `ways` of all orders; task.label_order says whether an order keeps its label. Each piece is cut to
    an equal part of task.max_length, so that the last one is read too.
    """

    pieces: Annotated[int, AtLeast(2), AtMost(6)] = 3

    @property
    def problem(self) -> Classification:
        return Classification(self.ways or 2)

    def encode(self, tokenizer: Tokenizer, items: int) -> None:
        super().encode(tokenizer, items)
        self._orders = np.array([*permutations(range(self.pieces))])
        self.classes = tuple(" ".join(str(1 + piece) for piece in order) for order in self._orders)
        self._runs = self._found_runs()
        ways = self.ways or 2
        self.needs(
            f"orders of {self.pieces} pieces", factorial(self.pieces), ways, "raise its pieces or lower its ways"
        )
        way_out = "lower task.shots, task.queries or its pieces, widen its share, or give more text"
        self.needs(f"runs of {self.pieces} sentences of a text", len(self._runs), ways * items, way_out)

    def _found_runs(self) -> np.ndarray:
        """[runs, pieces] numbers of sentences that follow each other in one text; no sentence is in two runs."""
        text, runs, run = self.sentences.text, [], list[int]()
        for number in self.members.tolist():
            if run and (number != run[-1] + 1 or text[number] != text[run[-1]]):
                run = []
            run.append(number)
            if len(run) == self.pieces:
                runs.append(run)
                run = []
        return np.array(runs, dtype=np.int64).reshape(-1, self.pieces)

    def draw(
        self, dice: np.random.Generator, shots: int, queries: int, label_order: str
    ) -> tuple[Classification, Half, Half]:
        """Every run of sentences is drawn once, in one order."""
        ways = self.ways or 2
        orders = np.sort(dice.choice(len(self._orders), ways, replace=False))
        if label_order == "shuffled":
            orders = dice.permutation(orders)
        runs = self._runs[dice.choice(len(self._runs), ways * (shots + queries), replace=False)]
        halves = (self._half(runs[: ways * shots], orders), self._half(runs[ways * shots :], orders))
        return self.problem, *halves

    def _half(self, runs: np.ndarray, orders: np.ndarray) -> Half:
        labels = np.arange(len(orders)).repeat(len(runs) // len(orders))
        part = max(1, self.sentences.max_length // self.pieces)
        tokens = [
            np.concatenate([self.sentences[number][:part] for number in run[self._orders[orders[label]]]])
            for run, label in zip(runs, labels, strict=True)
        ]
        return Half(tokens, [self.written(each) for each in tokens], labels, orders[labels])
