"""Regression: a number on a known scale, judged by mean squared error."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss


@dataclass(frozen=True)
class Regression:
    """A rating between `low` and `high`. The model answers on -1 .. 1, so tasks with other scales share one head."""

    low: float
    high: float
    tied: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return "regression"

    @property
    def outputs(self) -> int:
        return 1

    def targets(self, labels: np.ndarray) -> Tensor:
        """Ratings [items] moved to -1 .. 1, float32. Raises ValueError outside `low` .. `high`."""
        ratings = np.asarray(labels, dtype=np.float64)
        if not ((ratings >= self.low) & (ratings <= self.high)).all():
            raise ValueError(
                f"ratings run from {ratings.min()} to {ratings.max()}; the scale is {self.low} to {self.high}"
            )
        return torch.as_tensor(2 * (ratings - self.low) / (self.high - self.low) - 1, dtype=torch.float32)

    def codes(self, targets: Tensor) -> Tensor:
        """The targets themselves, [items, 1]."""
        return targets.unsqueeze(-1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean (not half the sum) of squared differences, on the -1 .. 1 scale. `outputs` [items, 1]."""
        return mse_loss(outputs.squeeze(-1), targets)

    def predictions(self, outputs: Tensor) -> np.ndarray:
        """Ratings on the task's own scale, [items]; held to its ends."""
        unit = outputs.squeeze(-1).detach().cpu().numpy().astype(np.float64).clip(-1, 1)
        return (unit + 1) / 2 * (self.high - self.low) + self.low

    def constant(self, targets: Tensor) -> Tensor:
        """The mean of `targets` [items], [1, 1]."""
        return targets.mean().reshape(1, 1)

    def statistics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """RMSE in rating points, and R^2 over the episode (0: no better than the queries' own mean) as the score."""
        error = self.predictions(outputs) - self.predictions(targets.unsqueeze(-1))
        mse, variance = float((error**2).mean()), float(self.predictions(targets.unsqueeze(-1)).var())
        return {
            "score": 1 - mse / variance if variance > 0 else 0.0,
            "rmse": mse**0.5,
            "loss": float(self.loss(outputs, targets)),
        }
