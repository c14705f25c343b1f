"""Subset-masked tasks: Bansal et al. (2020), arXiv:2009.08445, section 3."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metalingua.error import UserError
from metalingua.problem.classification import Classification
from metalingua.task.task import Half
from metalingua.task.unlabelled import Unlabelled, inside
from metalingua.text.normal import position
from metalingua.text.tokenizer import Tokenizer


@dataclass(kw_only=True, eq=False)
class SubsetMasked(Unlabelled):
    """Sentences of `ways` words, every occurrence of the word hidden: which word was it? New words every episode.

    Which word is which label is new every episode too, whatever task.label_order says. A word is a token of the
    tokenizer with a letter in it, where it is a whole word: "see" in "see it", not in "see ##ing".

    words   which part of all words, as a half-open piece of 0 .. 1; words fall into place by their hash
    band    a word's share of the sentences that hold it: rarer and more frequent words are left out
    """

    words: Sequence[float] = (0.0, 1.0)
    band: Sequence[float] = (0.0, 0.01)

    @property
    def problem(self) -> Classification:
        return Classification(self.ways or 2)

    def encode(self, tokenizer: Tokenizer, items: int) -> None:
        super().encode(tokenizer, items)
        self.hidden()
        tokens, owner = self.sentences.tokens(self.members)
        self._begins = tokenizer.begins
        whole = self._whole(tokens, owner)
        tokens, owner = tokens[whole], owner[whole]
        held = np.unique(tokens.astype(np.int64) * max(1, len(self.members)) + owner)  # by token, then by sentence
        tokens, self._holders = np.divmod(held, max(1, len(self.members)))
        count = np.bincount(tokens, minlength=len(self._words))
        self._start = np.concatenate([[0], np.cumsum(count)])
        low, high = self.band
        share = count / max(1, len(self.members))
        enough = np.flatnonzero((count >= items) & (share >= low) & (share <= high))
        spelled = {int(i): self._text(np.array([i])) for i in enough}
        mine = {i: word for i, word in spelled.items() if _is_word(word) and inside(position(word), self.words)}
        self._drawn, self.classes = np.array(list(mine), dtype=np.int64), tuple(mine.values())
        self.needs(
            f"words with shots + queries = {items} sentences or more, of {len(self.members)} sentences,",
            len(self.classes),
            self.ways or 2,
            "lower task.shots or task.queries, widen its share, words or band, or give more text",
        )

    def _whole(self, tokens: np.ndarray, owner: np.ndarray) -> np.ndarray:
        """Which tokens are whole words, [tokens] bool: the next one of the same sentence does not go on with them."""
        begins = self._begins[tokens]
        return begins & np.append(begins[1:] | (owner[1:] != owner[:-1]), True)

    def draw(
        self, dice: np.random.Generator, shots: int, queries: int, label_order: str
    ) -> tuple[Classification, Half, Half]:
        """No sentence is drawn for two words, so none is in both halves."""
        items, taken, found = shots + queries, set[int](), list[tuple[int, list[int]]]()
        for at in dice.permutation(len(self._drawn)):
            word = self._drawn[at]
            held = self._holders[self._start[word] : self._start[word + 1]]
            some = held[dice.choice(len(held), min(len(held), items + len(taken)), replace=False)]
            free = [each for each in some.tolist() if each not in taken][:items]
            if len(free) == items:
                found.append((at, free))
                taken.update(free)
            if len(found) == self.ways:
                break
        else:
            raise UserError(
                f"task.{self.split}.{self.name}: an episode finds no {self.ways} words with {items} sentences each, "
                "shared by none: lower task.shots, task.queries or its ways, widen its band, or give more text"
            )
        return self.problem, self._half(found, slice(shots)), self._half(found, slice(shots, items))

    def _half(self, found: list[tuple[int, list[int]]], part: slice) -> Half:
        tokens, labels, own = [], [], []
        for label, (at, members) in enumerate(found):
            for member in members[part]:
                sentence = self.sentences[self.members[member]]
                word = (sentence == self._drawn[at]) & self._whole(sentence, np.zeros(len(sentence)))
                tokens.append(np.where(word, self.hidden(), sentence).astype(np.int32))
                labels.append(label)
                own.append(at)
        return Half(tokens, [self.written(each) for each in tokens], np.array(labels), np.array(own))


def _is_word(text: str) -> bool:
    return any(letter.isalpha() for letter in text) and not text.startswith("[")
