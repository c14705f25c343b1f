"""What every kind of answer knows about itself. Nothing else in the house asks which kind a task has."""

from typing import Protocol

import numpy as np
from torch import Tensor


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
    def tied(self) -> bool:
        """Whether an output is a token, scored by its row of the encoder's embedding table. Items are tokens then."""
        ...

    def targets(self, labels: np.ndarray) -> Tensor:
        """`labels` of one episode [items] as the loss wants them, [items]."""
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

    def statistics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """What one episode's queries say, in plain numbers; `score` is the one to select by, higher is better."""
        ...
