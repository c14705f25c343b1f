"""Class means and distances to them: what learners that compare texts with prototypes have in common."""

import torch
from torch import Tensor

AT_ONCE = 4096  # items
NO_CLASSES = "a number has no classes, so no prototypes"


def means(features: Tensor, classes: Tensor) -> Tensor:
    """Each class's mean, [ways, size], of `features` [items, size] that belong to it by `classes` [items, ways]."""
    classes = classes.to(features.dtype)
    return classes.T @ features / classes.sum(0).unsqueeze(1)


def distances(features: Tensor, prototypes: Tensor) -> Tensor:
    """Squared Euclidean, [items, ways], of `features` [items, size] and `prototypes` [ways, size]."""
    parts = features.split(AT_ONCE)  # a test set of words, all at once, fills the memory
    return torch.cat([(part.unsqueeze(1) - prototypes).square().sum(-1) for part in parts])
