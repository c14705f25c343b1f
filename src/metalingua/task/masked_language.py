"""Masked language modelling as a task: Devlin et al. (2019), arXiv:1810.04805, section 3.1."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from metalingua.limit import Above, AtLeast, AtMost
from metalingua.problem.masked_words import MaskedWords
from metalingua.task.task import Half
from metalingua.task.unlabelled import Unlabelled
from metalingua.text.tokenizer import Tokenizer


@dataclass(kw_only=True, eq=False)
class MaskedLanguage(Unlabelled):
    """Sentences with some words chosen: what were they? As many sentences as a classification of the same ways has.

    chosen     share of a sentence's known words that are asked for; at least one
    hidden_by_mask, hidden_by_word   share of these in whose place the mask stands, or any word; the rest stay
    """

    chosen: Annotated[float, Above(0), AtMost(1)] = 0.15
    hidden_by_mask: Annotated[float, AtLeast(0), AtMost(1)] = 0.8
    hidden_by_word: Annotated[float, AtLeast(0), AtMost(1)] = 0.1

    of_tokens: ClassVar[bool] = True

    @property
    def problem(self) -> MaskedWords:
        return MaskedWords(self._size)

    def encode(self, tokenizer: Tokenizer, items: int) -> None:
        super().encode(tokenizer, items)
        self.hidden()
        self._known = np.array([bool(word) and not word.startswith("[") for word in self._words])
        self._any = np.flatnonzero(self._known)
        need = (self.ways or 2) * items
        self.needs("sentences", len(self.members), need, "lower task.shots or task.queries, or give more text")

    def draw(
        self, dice: np.random.Generator, shots: int, queries: int, label_order: str
    ) -> tuple[MaskedWords, Half, Half]:
        """The words that are chosen, and what stands in their place, are drawn anew every episode."""
        ways = self.ways or 2
        drawn = self.members[dice.choice(len(self.members), ways * (shots + queries), replace=False)]
        return self.problem, self._half(dice, drawn[: ways * shots]), self._half(dice, drawn[ways * shots :])

    def _half(self, dice: np.random.Generator, numbers: np.ndarray) -> Half:
        tokens, labels, at = [], [], []
        for item, number in enumerate(numbers):
            sentence = self.sentences[number].copy()
            known = np.flatnonzero(self._known[sentence])
            known = known if len(known) else np.arange(len(sentence))
            places = np.sort(dice.choice(known, max(1, round(self.chosen * len(known))), replace=False))
            labels.append(sentence[places])
            at.append(np.stack([np.full(len(places), item), places], axis=1))
            way = dice.random(len(places))
            other = dice.choice(self._any, len(places))
            by_word = way < self.hidden_by_mask + self.hidden_by_word
            hidden = np.where(by_word, other, sentence[places])
            sentence[places] = np.where(way < self.hidden_by_mask, self.hidden(), hidden)
            tokens.append(sentence)
        answers = np.concatenate(labels)
        return Half(tokens, [self.written(each) for each in tokens], answers, answers, np.concatenate(at))
