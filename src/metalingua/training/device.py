"""The CPU or the accelerator that a run is on."""

from collections.abc import Callable
from functools import cache, partial

import torch

from metalingua.model.model import Params


def device_of(params: Params) -> torch.device:
    """Where `params` are: all are in one place."""
    return next(iter(params.values())).device


def wait_for(device: torch.device) -> None:
    """Until `device` has done all that it was given: an accelerator is told what to do, and does it later."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def name_of(device: torch.device) -> str:
    """As tables name it: "cpu", or the make of a GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@cache
def settle(device: torch.device) -> None:
    """Call an accelerator's linear algebra once from one thread: torch loads the library at the first call, and of two
    first calls at once one fails ("lazy wrapper should be called at most once")."""
    if device.type != "cpu":
        torch.linalg.solve(torch.eye(2, device=device), torch.eye(2, device=device))


def precision(device: torch.device) -> Callable[[], torch.autocast]:
    """The precision that the caller's thread computes in on `device`, to be entered in another, which does not have it
    by itself: what `trainer.precision` sets."""
    kind = device.type
    return partial(torch.autocast, kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
