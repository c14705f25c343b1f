"""`make test` begins with the files that take longest."""

from types import SimpleNamespace

import conftest
from order import FIRST, ROOT


def test_the_long_ones_come_first_and_the_others_as_they_were():
    names = ["tests/test_rooms.py", FIRST[1], "tests/test_conf_of_none.py", FIRST[0], FIRST[1]]
    items = [SimpleNamespace(path=ROOT / name) for name in names]
    conftest.pytest_collection_modifyitems(items)
    assert [item.path for item in items] == [ROOT / names[i] for i in (3, 1, 4, 0, 2)]


def test_the_long_ones_are_there_and_no_other_order_is_put_on_theirs():
    assert [name for name in FIRST if not (ROOT / name).is_file()] == []
    assert "--dist loadfile --no-loadscope-reorder" in (ROOT / "Makefile").read_text()
