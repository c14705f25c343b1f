"""Tagging: a tag for every word, which say where entities begin and end and of what type they are.

Tags are BIO (IOB2, Tjong Kim Sang & Veenstra 1999): B-X begins an entity of type X, I-X goes on with it, O is outside.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from metalingua.problem.problem import Asked, Statistics
from metalingua.result.metric import f1

OUTSIDE = "O"
METRIC = "entity_f1"


def fault(tags: Sequence[str], types: Sequence[str] | None = None) -> tuple[int, str] | None:
    """The first of `tags`, those of a sentence, that cannot stand where it does, and why; None where all can.

    types   what entities there are; None: any
    """
    before = OUTSIDE
    for place, tag in enumerate(tags):
        mark, _, kind = tag.partition("-")
        if tag != OUTSIDE and (mark not in ("B", "I") or not kind):
            return place, f"tag is {tag!r}; it can be O, B-TYPE or I-TYPE"
        if kind and types is not None and kind not in types:
            return place, f"entity type is {kind!r}; it can be {', '.join(types)}"
        if mark == "I" and before not in (f"B-{kind}", f"I-{kind}"):
            return place, f"{tag} follows {before if place else 'nothing'}: I-{kind} goes on with B-{kind} or I-{kind}"
        before = tag
    return None


def repaired(tags: Sequence[str]) -> list[str]:
    """`tags` with every I-X that goes on with nothing made B-X."""
    found: list[str] = []
    for tag in tags:
        mark, _, kind = tag.partition("-")
        goes_on = found and found[-1] in (f"B-{kind}", f"I-{kind}")
        found.append(tag if mark != "I" or goes_on else f"B-{kind}")
    return found


def entities(tags: Sequence[int] | np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(type, first word, word after the last) of the entities of a sentence; `tags` count as `Tagging.tags` does.

    An I that goes on with nothing begins an entity, as in the evaluation of CoNLL-2003.
    """
    kind, start = -1, 0
    for place, tag in enumerate([*tags, 0]):
        this = (int(tag) - 1) // 2  # O: -1
        goes_on = tag and tag % 2 == 0 and this == kind
        if kind >= 0 and not goes_on:
            yield kind, start, place
        if not goes_on:
            kind, start = this, place


@dataclass(frozen=True)
class Tagging:
    """Entities of `types` in texts of which each word is an item. Labels are indices of `tags`.

    `Asked.gold`: the tags of every text, those of words that were not read too; `Asked.inputs.at` says which text a
    word is of, and words stand in their order.
    """

    types: tuple[str, ...]
    of_tokens: ClassVar[bool] = True
    tied: ClassVar[bool] = False
    exclusive: ClassVar[bool] = True
    places: ClassVar[bool] = False
    tells: ClassVar[bool] = False
    metric: ClassVar[str] = METRIC

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """O, then B and I of each type."""
        return (OUTSIDE, *(f"{mark}-{kind}" for kind in self.types for mark in "BI"))

    @property
    def name(self) -> str:
        return "_".join(("tagging", *self.types)).replace(".", "_")

    @property
    def outputs(self) -> int:
        return 2 * len(self.types) + 1

    def labels(self, tags: Sequence[str]) -> np.ndarray:
        """Indices [words] int64 of `tags`; of a type that is not asked for, O."""
        index = {tag: i for i, tag in enumerate(self.tags)}
        return np.array([index.get(tag, 0) for tag in tags], dtype=np.int64)

    def targets(self, labels: np.ndarray) -> Tensor:
        """Indices of tags, [words] int64. Raises ValueError for one that is no tag's."""
        targets = torch.as_tensor(np.asarray(labels), dtype=torch.int64)
        if len(targets) and not (int(targets.min()) >= 0 and int(targets.max()) < self.outputs):
            raise ValueError(f"labels run from {int(targets.min())} to {int(targets.max())}; there are {self.outputs} "
                             "tags")  # fmt: skip
        return targets

    def codes(self, targets: Tensor) -> Tensor:
        """1 for a word's tag, 0 for the others: [words, tags] float32. Words of the other tag of its type stand in for
        a tag that is not there (few sentences may have no entity of two words), so that no class is empty."""
        codes = one_hot(targets, self.outputs).float()
        other = torch.tensor([0, *(each for kind in range(1, self.outputs, 2) for each in (kind + 1, kind))])
        return torch.where(codes.sum(0) > 0, codes, codes[:, other.to(targets.device)])

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy over the words, in nats. `outputs` are logits [words, tags]."""
        return cross_entropy(outputs, targets)

    def predictions(self, outputs: Tensor, sentences: np.ndarray | None = None) -> np.ndarray:
        """The likeliest tags [words] of which no I-X goes on with anything but B-X or I-X (Viterbi 1967).

        sentences   [words], ascending: which each word is of; None: all words are of one
        """
        scores = outputs.detach().float().log_softmax(-1).cpu().double().numpy()
        if not len(scores):
            return np.empty(0, np.int64)
        sentences = np.zeros(len(scores), np.int64) if sentences is None else sentences
        _, first, lengths = np.unique(sentences, return_index=True, return_counts=True)
        found = np.empty(len(scores), np.int64)
        for some in np.array_split(np.argsort(lengths, kind="stable"), max(1, len(lengths) // 64)):
            self._decode(scores, first[some], lengths[some], found)
        return found

    def _decode(self, scores: np.ndarray, first: np.ndarray, lengths: np.ndarray, found: np.ndarray) -> None:
        """Write the best tags of the sentences whose words begin at `first` into `found`."""
        count, longest = len(first), int(lengths.max())
        inside, rows = np.arange(2, self.outputs, 2), np.arange(count)
        came = np.zeros((longest, count, self.outputs), np.int64)  # the tag before, by tag
        best = scores[first].copy()
        best[:, inside] = -np.inf  # no sentence begins with an I
        for place in range(1, longest):
            going = place < lengths
            before = best.argmax(1)
            through = best[rows, before][:, None].repeat(self.outputs, 1)
            came[place] = before[:, None]
            goes_on = best[:, inside] >= best[:, inside - 1]
            came[place][:, inside] = np.where(goes_on, inside, inside - 1)
            through[:, inside] = np.maximum(best[:, inside], best[:, inside - 1])
            best = np.where(going[:, None], through + scores[np.where(going, first + place, first)], best)
        tag = best.argmax(1)
        for place in range(longest - 1, -1, -1):
            here = place < lengths
            found[(first + place)[here]] = tag[here]
            tag = np.where(here & (place > 0), came[place][rows, tag], tag)

    def constant(self, targets: Tensor) -> Tensor:
        """Log frequencies of the tags in `targets`, [1, tags]; a missing one counts half a word."""
        return torch.bincount(targets, minlength=self.outputs).clamp(min=0.5).div(len(targets)).log().unsqueeze(0)

    def statistics(self, outputs: Tensor, targets: Tensor, asked: Asked | None = None) -> Statistics:
        """Entities right, found and there, whose F1 is the score (Tjong Kim Sang & De Meulder 2003, section 2.3: an
        entity is right if it is one of the right ones exactly, its words and its type); accuracy of words, 0 to 1."""
        at = None if asked is None or asked.inputs.at is None else asked.inputs.at[:, 0].cpu().numpy()
        predicted, truth = self.predictions(outputs, at), targets.cpu().numpy()
        at = np.zeros(len(truth), np.int64) if at is None else at
        texts = int(at.max(initial=-1)) + 1 if asked is None or asked.gold is None else len(asked.gold)
        starts = np.searchsorted(at, np.arange(texts + 1))
        right = found = there = 0
        for text, (start, end) in enumerate(zip(starts[:-1], starts[1:], strict=True)):
            gold = truth[start:end] if asked is None or asked.gold is None else asked.gold[text]
            ours, theirs = set(entities(predicted[start:end])), set(entities(gold))
            right, found, there = right + len(ours & theirs), found + len(ours), there + len(theirs)
        counts = [float(right), float(found), float(there)]
        return {
            "score": float(f1(np.array(counts))),
            METRIC: counts,
            "accuracy": float((predicted == truth).mean()),
            "loss": float(self.loss(outputs, targets)),
        }
