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
if "give back" in sys.argv:  # the C library's first thresholds, from which it moves up only by chance
    for what, limit in ((memory._MMAP_THRESHOLD, 1 << 17), (memory._TRIM_THRESHOLD, 1 << 17), (memory._TOP_PAD, 0)):
        ctypes.CDLL(None).mallopt(what, limit)
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
    assert faults() < 0.02 * pages < 0.1 * pages < faults("give back")


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert memory.keep_freed.__wrapped__() is False


HUGE = """
import sys, torch
from metalingua.training import memory
if "as it is" not in sys.argv:
    memory.keep_freed()
blocks = [torch.ones(1 << 18) for _ in range(64)]
with open("/proc/self/smaps") as regions:
    print(sum(int(line.split()[1]) for line in regions if line.startswith("AnonHugePages")))
"""


def test_tensors_lie_on_huge_pages_where_linux_gives_them_on_request():
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not setting.exists() or "[madvise]" not in setting.read_text():
        pytest.skip("this system gives huge pages to all or to none")
    run = [
        subprocess.run([sys.executable, "-c", HUGE, *word], capture_output=True, text=True)
        for word in ([], ["as it is"])
    ]
    there, elsewhere = (int(each.stdout) for each in run)
    assert there > 32 * 1024 > elsewhere  # KiB, of 64 MiB


def test_a_library_without_a_heap_of_this_kind_gives_no_huge_pages():
    assert memory.on_huge_pages(object()) is False
