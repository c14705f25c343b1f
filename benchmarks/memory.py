"""Memory of this process, MiB: of a GPU what torch took there, else where the system says (Linux), NaN elsewhere."""

import os
from pathlib import Path

import torch


def resident_mib(device: str = "cpu") -> float:
    """Now."""
    if device == "cuda":
        return torch.cuda.memory_allocated() / 2**20
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return float("nan")
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def reset_peak(device: str = "cpu") -> None:
    """Forget the peak so far."""
    if device == "cuda":
        return torch.cuda.reset_peak_memory_stats()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_mib(device: str = "cpu") -> float:
    """The most since the last reset."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), float("nan"))
