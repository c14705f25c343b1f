"""Features by hand: a text is one token, and its feature is that token's row of params["x"]."""

import numpy as np
import torch

from metalingua.problem.classification import Classification
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs


class Points:
    """A model of nothing but given features."""

    rows = "x"

    def features(self, params, inputs):
        return params["x"][inputs.tokens[:, 0]]


def points(support, targets, queries, ways=2):
    """(params, support examples, query inputs) of rows of numbers."""
    known, asked = (torch.tensor(each, dtype=torch.float64) for each in (support, queries))
    params, labels = {"x": torch.cat([known, asked])}, np.array(targets)
    return params, Examples(Classification(ways), texts(0, len(known)), torch.tensor(targets), labels), texts(
        len(known), len(asked)
    )  # fmt: skip


def texts(first, count):
    tokens = torch.arange(first, first + count).unsqueeze(1)
    return Inputs(tokens, torch.ones(count, dtype=torch.int64), tuple(f"text {i}" for i in range(first, first + count)))
