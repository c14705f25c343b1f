"""Set before torch is imported: the tests' matrices are small, and intra-op threads would only wait for cores."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from order import place  # noqa: E402


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: place(item.path))
