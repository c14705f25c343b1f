"""Memory of this process, MiB: of a GPU what torch took there, else what is resident; NaN where the system does not
say."""

import math

import torch

from metalingua.training.memory import memory_mib, peak_memory_mib, reset_peak_memory


def resident_mib(device: str = "cpu") -> float:
    """Now."""
    return torch.cuda.memory_allocated() / 2**20 if device == "cuda" else _said(memory_mib())


def reset_peak(device: str = "cpu") -> None:
    """Forget the peak so far."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        reset_peak_memory()


def peak_mib(device: str = "cpu") -> float:
    """The most since the last reset."""
    return torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else _said(peak_memory_mib())


def _said(found: float | None) -> float:
    return math.nan if found is None else found
