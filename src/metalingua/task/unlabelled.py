"""What tasks of unlabelled text have in common."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np

from metalingua.error import UserError
from metalingua.limit import Above, AtLeast
from metalingua.problem.problem import Problem
from metalingua.task.sentences import SENTENCE, Sentences
from metalingua.task.task import Half
from metalingua.text.tokenizer import Tokenizer


@dataclass(kw_only=True, eq=False)
class Unlabelled:
    """A task whose answers lie in the text itself: an entry of task.meta_train with a `_target_`.

    corpus, share, ways, shots, queries, weight, loss_weight, title, note   as in `metalingua.task.task.Rule`; labels
               are not read
    sentence   what lies between two sentences, as a regular expression
    shortest   words of a sentence: shorter ones are left out
    """

    corpus: str
    share: Sequence[float] = (0.0, 1.0)
    ways: Annotated[int, AtLeast(2)] | None = None
    shots: Annotated[int, AtLeast(1)] | None = None
    queries: Annotated[int, AtLeast(1)] | None = None
    weight: Annotated[float, Above(0)] = 1.0
    loss_weight: Annotated[float, Above(0)] = 1.0
    title: str | None = None
    note: str | None = None
    sentence: str = SENTENCE
    shortest: Annotated[int, AtLeast(1)] = 5

    split: str = field(default="", init=False)
    name: str = field(default="", init=False)
    domain: str = field(default="", init=False)
    classes: tuple[str, ...] = field(default=(), init=False)
    sentences: Sentences = field(init=False)
    members: np.ndarray = field(init=False)  # numbers of the sentences that it may draw

    noisy: ClassVar[bool] = False  # whether its halves are read with noise
    of_tokens: ClassVar[bool] = False  # whether its items are tokens, and any token may be the answer
    texts: ClassVar[tuple[str, ...]] = ()  # none is held in memory
    labels: ClassVar[np.ndarray] = np.empty(0, np.int64)
    names: ClassVar[None] = None  # of a hidden word, the name would be the answer

    @property
    def of_classes(self) -> bool:
        """As `metalingua.task.task.Task` has it."""
        return not self.of_tokens

    def take(self, split: str, name: str, domain: str, ways: int, sentences: Sentences) -> None:
        """Be the task `name` of `split`, and draw from those of `sentences` that lie in its share, each once."""
        self.split, self.name, self.domain, self.sentences = split, name, domain, sentences
        self.ways, self.title, self.note = self.ways or ways, self.title or name, self.note or ""
        mine = np.flatnonzero(inside(sentences.place, self.share))
        self.members = mine[np.sort(np.unique(sentences.form[mine], return_index=True)[1])]

    def encode(self, tokenizer: Tokenizer, items: int) -> None:
        """Get ready to draw: `sentences` are encoded. `items` are a class's texts of an episode.

        Raises UserError if there are too few to draw from.
        """
        self._mask, self._size, self._text = tokenizer.mask, tokenizer.size, tokenizer.text
        self._words = np.full(max(self._size, 1 + max(tokenizer.vocabulary.values(), default=0)), "", dtype=object)
        for word, number in tokenizer.vocabulary.items():
            self._words[number] = word

    @property
    def problem(self) -> Problem:
        raise NotImplementedError

    def draw(self, dice: np.random.Generator, shots: int, queries: int, label_order: str) -> tuple[Problem, Half, Half]:
        """The support and the query half of an episode."""
        raise NotImplementedError

    def written(self, tokens: np.ndarray) -> str:
        """What a learner reads that does not look at tokens."""
        return self._text(tokens)

    def needs(self, what: str, have: int, need: int, way_out: str) -> None:
        """Raise UserError unless there are enough."""
        if have < need:
            raise UserError(f"task.{self.split}.{self.name} has {have} {what} and takes {need}: {way_out}")

    def hidden(self) -> int:
        """The id that hides a word. Raises UserError if the tokenizer has none."""
        if self._mask is None:
            raise UserError(
                f"task.{self.split}.{self.name} hides words, and this tokenizer has no token for that: set "
                "text=masked_word (with model.init_from: start from a run that had it)"
            )
        return self._mask


def inside(value: Any, share: Sequence[float]) -> Any:
    """Whether a place in 0 .. 1 lies in a half-open share of it; elementwise."""
    return (value >= share[0]) & ((value < share[1]) | (share[1] >= 1))
