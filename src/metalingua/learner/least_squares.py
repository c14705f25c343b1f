"""Regularised least squares in closed form, differentiable: Bertinetto et al. (2019), arXiv:1805.08136, section 3.2."""

import torch
from torch import Tensor


def ridge_weights(features: Tensor, codes: Tensor, penalty: Tensor) -> Tensor:
    """The W that minimises |features W - codes|^2 + penalty |W|^2, [size, outputs].

    features  [items, size]
    codes     [items, outputs]
    penalty   lambda, a scalar above 0

    The system has a row for each feature or, by Woodbury's identity, for each item, whichever are fewer: a support set
    has a few texts, or the tokens of long contexts. It is solved in float64 whatever the features are: with a small
    penalty its condition is that of the features squared.
    """
    x, y = features.double(), codes.double()
    of_items = len(x) <= x.shape[1]
    gram = x @ x.t() if of_items else x.t() @ x
    gram = gram + penalty.double() * torch.eye(len(gram), dtype=x.dtype, device=x.device)
    weights = x.t() @ torch.linalg.solve(gram, y) if of_items else torch.linalg.solve(gram, x.t() @ y)
    return weights.to(features.dtype).contiguous()  # solved, it lies by columns: another layout rounds otherwise
