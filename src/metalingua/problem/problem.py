"""What every kind of answer knows about itself. Nothing else in the house asks which kind a task has."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from metalingua.text.batch import Inputs

Statistics = dict[str, Any]  # numbers; of a metric that pools episodes its counts, a list of numbers


@dataclass(frozen=True)
class Asked:
    """What a problem may need beside outputs and targets to judge the queries of an episode.

    inputs   what was asked
    gold     a text's right answer each, in the problem's own form, as its task gave it; None: the targets say all
    answers  inputs of the same episode to outputs, by the same predictor, for answers that are made token by token;
             None where that is too slow: in meta-validation
    """

    inputs: Inputs
    gold: Any = None
    answers: Callable[[Inputs], Tensor] | None = None


class Problem(Protocol):
    """A kind of answer: its targets, its head, its loss, and how well an answer did."""

    @property
    def name(self) -> str:
        """Names the head: tasks with equally named problems share one."""
        ...

    @property
    def outputs(self) -> int:
        """Numbers the head gives for one item."""
        ...

    @property
    def metric(self) -> str:
        """What tables are about: a name in metalingua.result.metric.METRICS."""
        ...

    @property
    def of_tokens(self) -> bool:
        """Whether an item is a token of a text, as `Inputs.at` says, and no whole text."""
        ...

    @property
    def tied(self) -> bool:
        """Whether an output is a token, scored by its row of the encoder's embedding table. Items are tokens then."""
        ...

    @property
    def exclusive(self) -> bool:
        """Whether outputs are classes, of which an item has one."""
        ...

    @property
    def tags(self) -> tuple[str, ...]:
        """What a word can be, by output, where items are the words of sentences; none where they are not."""
        ...

    @property
    def places(self) -> bool:
        """Whether the two outputs of an item say how well an answer begins and ends there, in a text of two parts."""
        ...

    @property
    def tells(self) -> bool:
        """Whether the items of a text follow each other in its second part, each given those before it: `Telling`."""
        ...

    def targets(self, labels: np.ndarray) -> Tensor:
        """`labels` of one episode [items, ...] as the loss wants them, [items, ...]."""
        ...

    def codes(self, targets: Tensor) -> Tensor:
        """`targets` [items] as the outputs a least-squares head should give, [items, self.outputs]."""
        ...

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over items, a scalar. `outputs` [items, self.outputs], `targets` [items]."""
        ...

    def predictions(self, outputs: Tensor) -> np.ndarray:
        """`outputs` [items, self.outputs] as labels, [items]: the inverse of `targets`."""
        ...

    def constant(self, targets: Tensor) -> Tensor:
        """The outputs of the best answer that ignores the text, [1, self.outputs]."""
        ...

    def statistics(self, outputs: Tensor, targets: Tensor, asked: Asked | None = None) -> Statistics:
        """What one episode's queries say, by metric; `score`, a number, is the one to select by, higher is better."""
        ...


class Telling(Problem, Protocol):
    """What a problem has beside that `tells`."""

    @property
    def source(self) -> str:
        """Code of the language of the first parts, as the corpus has it."""
        ...

    @property
    def language(self) -> str:
        """Code of the language of the second parts."""
        ...

    @property
    def end(self) -> int:
        """The target of the item behind the last token of a second part."""
        ...

    def told(self, text: str) -> list[int]:
        """The targets of the items of a second part that says `text`: its tokens and the end, as many as are read."""
        ...
