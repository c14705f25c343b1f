"""Regularised least squares in closed form, differentiable: Bertinetto et al. (2019), arXiv:1805.08136, section 3.2."""

import torch
from torch import Tensor


def ridge_weights(features: Tensor, codes: Tensor, penalty: Tensor) -> Tensor:
    """The W that minimises |features W - codes|^2 + penalty |W|^2, [size, outputs].

    features  [items, size]
    codes     [items, outputs]
    penalty   lambda, a scalar above 0

    By Woodbury's identity the system has a row for each item, not for each feature. It is solved in
    float64 whatever the features are: with a small penalty its condition is that of the features squared.
    """
    x = features.double()
    gram = x @ x.t() + penalty.double() * torch.eye(len(x), dtype=x.dtype, device=x.device)
    return (x.t() @ torch.linalg.solve(gram, codes.double())).to(features.dtype)
