"""Extractive question answering: where in a context the answer begins and ends, or that it is not there.

Begin and end by a softmax over the tokens each: Devlin et al. (2019), arXiv:1810.04805, sections 4.2 and 4.3.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from metalingua.problem.problem import Asked, Statistics

NO_ANSWER = ""  # what stands for an answer where there is none
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_UNSPACED = re.compile(
    "([\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff])"
)  # Thai, kana, Han: no spaces between words


@dataclass(frozen=True)
class Window:
    """A piece of a context that is read together with the question, and what the whole question's answers are.

    question     tells questions apart
    begins, ends   [items - 1] of each token of the piece: its first character in `context`, and the one behind its last
    answers      every right answer; none: the context does not have it
    """

    question: int
    context: str
    begins: np.ndarray
    ends: np.ndarray
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Span:
    """Of each window the first item stands for "no answer here", the others are the tokens of its piece of context.

    Outputs are two numbers an item: how well the answer begins, and how well it ends, with this token.

    longest    tokens of an answer
    abstains   whether there are questions without an answer: where there are none, none is given up
    """

    longest: int
    abstains: bool
    metric: str = "answer_f1"
    of_tokens: ClassVar[bool] = True
    tied: ClassVar[bool] = False
    exclusive: ClassVar[bool] = False
    tags: ClassVar[tuple[str, ...]] = ()
    places: ClassVar[bool] = True
    tells: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return "span"

    @property
    def outputs(self) -> int:
        return 2

    def targets(self, labels: np.ndarray) -> Tensor:
        """[items, 3] int64: a number that is another one for the next window, whether the answer begins, and whether it
        ends here. Raises ValueError unless every window has one begin and one end."""
        targets = torch.as_tensor(np.asarray(labels), dtype=torch.int64)
        windows, found = _windows(targets), targets[:, 1:]
        each = torch.zeros(len(targets), 2, dtype=torch.int64).index_add(0, windows, found)
        if not bool((each[: int(windows.max()) + 1] == 1).all() & (found >= 0).all()):
            raise ValueError("a window has not one begin and one end of its answer")
        return targets

    def codes(self, targets: Tensor) -> Tensor:
        """1 where the answer begins, and 1 where it ends, [items, 2] float32."""
        return targets[:, 1:].float()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over windows of the cross-entropy of the begin and of the end, over the items of the window; the mean
        of the two, in nats. No shape depends on how many windows there are."""
        windows = _windows(targets)
        at = windows.unsqueeze(1).expand_as(outputs)
        lowest = torch.full_like(outputs, -torch.inf)
        highest = lowest.scatter_reduce(0, at, outputs.detach(), "amax").gather(0, at)  # of the item's own window
        sums = torch.zeros_like(outputs).scatter_add(0, at, (outputs - highest).exp())
        right = targets[:, 1:].to(outputs.dtype)
        logs = right * (outputs - highest - sums.gather(0, at).log())  # of the softmax
        return -logs.sum() / right.sum()

    def predictions(self, outputs: Tensor) -> np.ndarray:
        """How well the answer begins and ends with each item, [items, 2]: alone they say no more."""
        return outputs.detach().cpu().numpy()

    def constant(self, targets: Tensor) -> Tensor:
        """No token better than another, [1, 2]: no answer, or the first token where there must be one."""
        return targets.new_zeros(1, 2, dtype=torch.float32)

    def statistics(self, outputs: Tensor, targets: Tensor, asked: Asked | None = None) -> Statistics:
        """Exact match and F1, the means over questions, 0 to 1; F1 is the score. The loss in nats."""
        assert asked is not None
        said = self.answers(outputs, asked)
        judged = [
            judge(said[each.question], each.answers, unspaced(each.context))
            for each in dict((g.question, g) for g in asked.gold).values()
        ]
        exact, overlap = np.mean(judged, axis=0)
        return {
            "score": float(overlap),
            "answer_f1": float(overlap),
            "exact_match": float(exact),
            "loss": float(self.loss(outputs.detach(), targets)),
        }

    def answers(self, outputs: Tensor, asked: Asked) -> dict[int, str]:
        """Question to the text of its answer, as it stands in the context.

        Of all spans of at most `longest` tokens in all windows, the one with the highest sum of begin and end over that
        of "no answer here" in its window: a softmax over a window says nothing of other windows but by this odds. It is
        given where it is above 0, or where questions always have an answer.
        """
        sizes = [1 + len(each.begins) for each in asked.gold]
        best: dict[int, tuple[float, str]] = {}
        for scores, window in zip(outputs.detach().double().cpu().split(sizes), asked.gold, strict=True):
            odds, first, last = _best_span(scores.numpy(), self.longest)
            text = window.context[window.begins[first] : window.ends[last]]
            floor = best.get(window.question, (0.0, NO_ANSWER) if self.abstains else (-np.inf, NO_ANSWER))
            best[window.question] = max(floor, (odds, text), key=lambda each: each[0])  # the first on ties
        return {question: text for question, (_, text) in best.items()}


def misplaced(context: str, answers: Sequence[str], starts: Sequence[int]) -> str:
    """What is wrong with the first of `answers` that does not stand in `context` where it should; "" if all do."""
    for answer, start in zip(answers, starts, strict=True):
        if start < 0 or context[start : start + len(answer)] != answer:
            where = context.find(answer)
            way_out = f"it stands there from {where} on" if where >= 0 else "it stands nowhere in it"
            return f"the answer {answer[:60]!r} does not begin with character {start} of its context; {way_out}"
    return ""


def _windows(targets: Tensor) -> Tensor:
    """[items] int64: 0 for the items of the first window, 1 for those of the second, ..."""
    numbers = targets[:, 0]
    return torch.cat([numbers.new_zeros(1), (numbers[1:] != numbers[:-1]).long().cumsum(0)])


def _best_span(scores: np.ndarray, longest: int) -> tuple[float, int, int]:
    """The odds of the best span over "no answer", and the numbers of its first and last token, of scores [items, 2]."""
    begin, end = scores[1:].T
    both = begin[:, None] + end
    place = np.arange(len(begin))
    length = place - place[:, None]
    both = np.where((length >= 0) & (length < longest), both, -np.inf)
    first, last = np.unravel_index(both.argmax(), both.shape)
    return float(both[first, last] - scores[0].sum()), int(first), int(last)


def judge(said: str, answers: Sequence[str], letters: bool) -> tuple[float, float]:
    """Exact match and F1 of what was `said` against the right answers, the best of each; as the official evaluation of
    SQuAD 2.0 has it, that of 1.1 too where there is an answer (Rajpurkar et al. 2016, arXiv:1606.05250, section 6.1;
    2018, arXiv:1806.03822). No right answer is none: 1 where nothing was said, else 0.

    letters   whether letters of scripts without spaces are words: the official evaluation knows English
    """
    right = [answer for answer in answers if normal(answer)] or [NO_ANSWER]
    return max(float(normal(said) == normal(each)) for each in right), max(f1(said, each, letters) for each in right)


def unspaced(context: str) -> bool:
    """Whether most of its letters are of a script that puts no spaces between words: Thai, kana, Han."""
    return 2 * len(_UNSPACED.findall(context)) > sum(map(str.isalpha, context))


def f1(said: str, answer: str, letters: bool) -> float:
    """Harmonic mean of precision and recall of the words of the normal forms, each as often as it occurs."""
    mine, right = tokens(said, letters), tokens(answer, letters)
    if not mine or not right:
        return float(mine == right)
    common = (Counter(mine) & Counter(right)).total()
    return 2 * common / (len(mine) + len(right))


def normal(text: str) -> str:
    """Lower case, without punctuation (ASCII), without English articles, a space between words."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def tokens(text: str, letters: bool) -> list[str]:
    """The words of the normal form; with `letters`, those of scripts that put no spaces between words are words."""
    return (_UNSPACED.sub(r" \1 ", normal(text)) if letters else normal(text)).split()
