"""Functions of tensors that run without Python's interpreter lock."""

import warnings
from collections.abc import Callable
from typing import TypeVar

import torch

Made = TypeVar("Made", bound=Callable)


def scripted(function: Made) -> Made:
    """`function`, compiled by TorchScript where this torch still can; else `function` itself. The same bits either way.

    Only worker threads gain by it: alone, each operation costs about what it does from Python.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return torch.jit.script(function)
    except (AttributeError, NotImplementedError, RuntimeError):
        return function
