"""A conditional random field on the support set: Lafferty, McCallum & Pereira (2001), ICML; CRFsuite (Okazaki 2007)."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from metalingua.learner.learner import Learner, Predictor
from metalingua.learner.sentences import NO_TAGS, sentences
from metalingua.limit import AtLeast, limited
from metalingua.model.model import Model, Params
from metalingua.problem.problem import Problem
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs

LEAST = 1e-6  # probability of a tag: what the support lacks has no other


class Crf(Learner):
    """Tags from features of words, their beginnings, ends and shapes, and those of the words beside them.

    penalty   L2 (CRFsuite's c2)
    steps_at_most   of L-BFGS
    """

    start = "scratch"

    @limited("learner")
    def __init__(
        self,
        label: str,
        penalty: Annotated[float, AtLeast(0)],
        steps_at_most: Annotated[int, AtLeast(1)],
        tuned: Mapping[str, Sequence[Any]] | None = None,
    ):
        self.label, self.penalty, self.steps_at_most, self.tuned = label, penalty, steps_at_most, tuned

    def refuses(self, problem: Problem) -> str | None:
        return None if problem.tags else NO_TAGS

    def adapt(self, model: Model, params: Params, support: Examples, query_inputs: Inputs | None = None) -> Predictor:
        import pycrfsuite

        trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
        trainer.set_params({"c1": 0.0, "c2": self.penalty, "max_iterations": self.steps_at_most})
        targets = support.targets.tolist()
        for words, items in sentences(support.inputs):
            trainer.append([*described(words)], [str(target) for target in targets[items]])
        with TemporaryDirectory() as folder:  # CRFsuite writes what it learned to a file, and to nothing else
            path = Path(folder) / "crf"
            trainer.train(str(path))
            learned = path.read_bytes()
        outputs = support.problem.outputs

        def answers(inputs: Inputs) -> Tensor:
            """Logarithms of the tags' probabilities, [words, tags]."""
            tagger = pycrfsuite.Tagger()  # it holds the sentence that it was set: one a call
            tagger.open_inmemory(learned)
            known = tagger.labels()
            found = np.full((len(inputs), outputs), LEAST)
            for words, items in sentences(inputs):
                tagger.set([*described(words)])
                rows = [[tagger.marginal(label, i) for label in known] for i in range(len(words))]
                found[items, [int(label) for label in known]] = np.maximum(rows, LEAST)
            return torch.from_numpy(np.log(found)).float()

        return Predictor(answers)


def described(words: Sequence[str]) -> Iterator[list[str]]:
    """Features of each word of a sentence."""
    each = [_features(word) for word in words]
    edge = ["edge"]
    for before, own, after in zip([edge, *each[:-1]], each, [*each[1:], edge], strict=True):
        yield ["bias", *own, *(f"-1:{name}" for name in before), *(f"+1:{name}" for name in after)]


def _features(word: str) -> list[str]:
    low = word.lower()
    ends = [f"{which}={part}" for n in (2, 3) for which, part in (("begins", low[:n]), ("ends", low[-n:]))]
    return [f"word={low}", f"shape={shape(word)}", *ends]


def shape(word: str) -> str:
    """The kinds of a word's signs, runs as one: "Xx" for "Nairobi", "X.X." for "U.S.", "d" for "1999"."""
    kinds = ["X" if s.isupper() else "x" if s.isalpha() else "d" if s.isdigit() else s for s in word]
    return "".join(kind for kind, before in zip(kinds, ["", *kinds[:-1]], strict=True) if kind != before)
