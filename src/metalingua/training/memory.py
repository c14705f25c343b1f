"""How this process's memory is taken from the system and given back, and how much it is."""

import contextlib
import ctypes
from functools import cache
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h of the GNU C library
_KEPT = 1 << 30  # bytes


@cache
def keep_freed() -> bool:
    """Let the C library keep up to a GiB of freed memory for the next tensors. True if it could be told.

    By default it hands large blocks back when they are freed, so that every step takes the same memory anew, page by
    page, at about 1.5 us of 4 KiB. It also gives each thread a heap of its own, which it empties whatever the limit;
    with one for all, one task's memory serves the next one's, on any thread.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return False
    return all([mallopt(_MMAP_THRESHOLD, _KEPT), mallopt(_TRIM_THRESHOLD, _KEPT), mallopt(_ARENA_MAX, 1)])


def reset_peak_memory() -> None:
    """Start the process's peak anew, where the system can (Linux). What was freed and kept is given back before: else
    the next peak would be of what was done before."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mib() -> float | None:
    """Peak resident memory of this process since the last reset, MiB; None where the system does not say."""
    return _status("VmHWM")


def memory_mib() -> float | None:
    """Resident memory of this process now, MiB; None where the system does not say."""
    return _status("VmRSS")


def _status(name: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name)), None)
