"""What this process has of the machine."""

import os


def cores() -> int:
    """How many it may use: where the system says (Linux), else how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
