"""How this process's memory is taken from the system and given back."""

import ctypes
from functools import cache

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
