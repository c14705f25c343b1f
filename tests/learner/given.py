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
    support, query, targets = (torch.as_tensor(each) for each in (support, query, targets))
    params = {Given.rows: torch.cat([support, query]).double()}
    of = [pad([np.array([i]) for i in ids], ["a text"] * len(ids))
          for ids in np.split(np.arange(len(support) + len(query)), [len(support)])]  # fmt: skip
    problem = problem or Classification(int(targets.max()) + 1)
    return Given(support.shape[1]), params, Examples(problem, of[0], targets, targets.numpy()), of[1]
