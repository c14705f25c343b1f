import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from metalingua.training import memory

COUNT = """
import ctypes, resource, sys, torch
from metalingua.training import memory
if not memory.keep_freed():
    sys.exit(3)
if "give back" in sys.argv:  # the C library's first threshold, from which it moves up only by chance
    ctypes.CDLL(None).mallopt(memory._MMAP_THRESHOLD, 1 << 17)
def work():
    blocks = [torch.ones(1 << 18) for _ in range(24)]  # a MiB each
for _ in range(4):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*words):
    found = subprocess.run([sys.executable, "-c", COUNT, *words], capture_output=True, text=True, check=False)
    if found.returncode == 3:
        pytest.skip("this C library cannot be told what to keep")
    return int(found.stdout)


def test_a_step_takes_no_memory_anew_that_the_one_before_freed():
    pages = 4 * 24 * 256  # of 4 KiB, if every block is taken anew
    assert faults() < 0.1 * pages < 0.9 * pages < faults("give back")


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert memory.keep_freed.__wrapped__() is False


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not say")
def test_a_peak_is_not_of_what_was_freed_before():
    code = (
        "import torch; from metalingua.training.memory import *; keep_freed(); "
        "x = torch.ones(50_000_000); had = peak_memory_mib(); del x; kept = memory_mib(); reset_peak_memory(); "
        "less = peak_memory_mib(); y = torch.ones(25_000_000); print(had, kept, less, peak_memory_mib(), memory_mib())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    had, kept, less, more, now = map(float, ran.stdout.split())
    assert had > less + 150  # of 191 MiB
    assert kept > less + 150  # which were held on to
    assert more == pytest.approx(less + 95, abs=20) and now == pytest.approx(more, abs=20)
