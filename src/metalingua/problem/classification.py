"""Classification: one of `ways` classes, judged by cross-entropy (Bishop 2006, eq. 4.108)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from metalingua.problem.problem import Asked, Statistics
from metalingua.result.metric import macro_f1


@dataclass(frozen=True)
class Classification:
    """One of `ways` classes. Labels are class indices 0 .. ways - 1 of the episode.

    metric   "accuracy", or "macro_f1", which needs a class to have the same index in every episode
    """

    ways: int
    metric: str = "accuracy"
    of_tokens: ClassVar[bool] = False
    tied: ClassVar[bool] = False
    tags: ClassVar[tuple[str, ...]] = ()
    places: ClassVar[bool] = False
    tells: ClassVar[bool] = False
    exclusive: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"classification_{self.ways}"

    @property
    def outputs(self) -> int:
        return self.ways

    def targets(self, labels: np.ndarray) -> Tensor:
        """Class indices [items] as an int64 tensor. Raises ValueError for a label that is no class."""
        targets = torch.as_tensor(np.asarray(labels), dtype=torch.int64)
        if len(targets) and not (int(targets.min()) >= 0 and int(targets.max()) < self.ways):
            raise ValueError(
                f"labels run from {int(targets.min())} to {int(targets.max())}; "
                f"{self.ways} ways take 0 to {self.ways - 1}"
            )
        return targets

    def codes(self, targets: Tensor) -> Tensor:
        """1 for an item's class, 0 for the others: one-hot rows [items, ways], float32."""
        return one_hot(targets, self.ways).float()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy over the items and *all* classes, in nats. `outputs` are logits [items, ways]."""
        return cross_entropy(outputs, targets)

    def predictions(self, outputs: Tensor) -> np.ndarray:
        """The likeliest class of every item; the first one on ties."""
        return outputs.argmax(-1).cpu().numpy()

    def constant(self, targets: Tensor) -> Tensor:
        """Log frequencies of the classes in `targets` [items], [1, ways]; a missing class counts half an item."""
        return torch.bincount(targets, minlength=self.ways).clamp(min=0.5).div(len(targets)).log().unsqueeze(0)

    def statistics(self, outputs: Tensor, targets: Tensor, asked: Asked | None = None) -> Statistics:
        """Accuracy, and its mean over the classes present (balanced accuracy), both 0 to 1; loss in nats. For macro F1
        the confusion matrix, row by row; the score is that of the episode then."""
        predicted, truth = self.predictions(outputs), targets.cpu().numpy()
        right = predicted == truth
        accuracy = float(right.mean())
        more: Statistics = {"score": accuracy}
        if self.metric == "macro_f1":
            confusion = np.bincount(self.ways * truth + predicted, minlength=self.ways**2).astype(np.float64)
            more = {"score": float(macro_f1(confusion)), "macro_f1": confusion.tolist()}
        return {
            **more,
            "accuracy": accuracy,
            "balanced_accuracy": float(np.mean([right[truth == label].mean() for label in np.unique(truth)])),
            "loss": float(self.loss(outputs, targets)),
        }
