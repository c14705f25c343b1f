"""A model whose features are given, of any size and for any problem. For cases worked by hand."""

from types import SimpleNamespace

import numpy as np
import torch

from metalingua.problem.classification import Classification
from metalingua.task.episode import Examples
from metalingua.text.batch import pad


class Given:
    """A text is one token, and its features, `size` numbers, are that token's row of the embedding."""

    rows = "encoder.embedding.weight"

    def __init__(self, size):
        self.encoder = SimpleNamespace(size=size)

    def features(self, params, inputs):
        return params[self.rows][inputs.tokens[:, 0]]


def given(support, targets, query, problem=None):
    """(model, params in float64, support examples, query inputs) of rows of features; `targets` as `problem` has them,
    by default classes."""
    support, query = (torch.as_tensor(each, dtype=torch.float64) for each in (support, query))
    targets = torch.as_tensor(targets)
    params = {Given.rows: torch.cat([support, query])}
    of = [texts(0, len(support)), texts(len(support), len(query))]
    problem = problem or Classification(int(targets.max()) + 1)
    return Given(support.shape[1]), params, Examples(problem, of[0], targets, targets.numpy()), of[1]


def texts(first, count):
    """`count` texts of one token each, from the row `first` on."""
    ids = range(first, first + count)
    return pad([np.array([i]) for i in ids], [f"text {i}" for i in ids])
