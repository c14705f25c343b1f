"""Regression: a number on a known scale, judged by mean squared error."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.functional import mse_loss

from metalingua.problem.problem import Asked, Statistics


@dataclass(frozen=True)
class Regression:
    """A rating between `low` and `high`. The model answers on -1 .. 1, so tasks with other scales share one head.

    metric   "rmse", or "pearson", of which RMSE and Spearman stand beside it
    """

    low: float
    high: float
    metric: str = "rmse"
    of_tokens: ClassVar[bool] = False
    tied: ClassVar[bool] = False
    tags: ClassVar[tuple[str, ...]] = ()
    places: ClassVar[bool] = False
    tells: ClassVar[bool] = False
    exclusive: ClassVar[bool] = False

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
        return mse_loss(outputs.squeeze(-1), targets.to(outputs.dtype))

    def predictions(self, outputs: Tensor) -> np.ndarray:
        """Ratings on the task's own scale, [items]; held to its ends."""
        unit = outputs.squeeze(-1).detach().cpu().numpy().astype(np.float64).clip(-1, 1)
        return (unit + 1) / 2 * (self.high - self.low) + self.low

    def constant(self, targets: Tensor) -> Tensor:
        """The mean of `targets` [items], [1, 1]."""
        return targets.mean().reshape(1, 1)

    def statistics(self, outputs: Tensor, targets: Tensor, asked: Asked | None = None) -> Statistics:
        """RMSE in rating points, and R^2 over the episode (0: no better than the queries' own mean) as the score. For
        Pearson's r the sums that it is made of, and Spearman's rho of the episode (0 where an answer is constant)."""
        predicted, truth = self.predictions(outputs), self.predictions(targets.unsqueeze(-1))
        error = predicted - truth
        mse, variance = float((error**2).mean()), float(truth.var())
        more: Statistics = {}
        if self.metric == "pearson":
            x, y = predicted - self.low, truth - self.low
            more["pearson"] = [float(each) for each in (len(x), x.sum(), y.sum(), x @ x, y @ y, x @ y)]
            constant = predicted.std() < 1e-9 or truth.std() < 1e-9
            more["spearman"] = 0.0 if constant else float(spearmanr(predicted, truth).statistic)
        return {
            **more,
            "score": 1 - mse / variance if variance > 0 else 0.0,
            "rmse": mse**0.5,
            "loss": float(self.loss(outputs, targets)),
        }
