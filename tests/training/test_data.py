"""Loaders whose batch n is a pure function of n, made before it is asked for."""

import threading
import time
from itertools import islice

import pytest

from metalingua.error import UserError
from metalingua.training.data import AHEAD, EpisodeLoader


@pytest.fixture
def loader():
    return EpisodeLoader(range(100), batches=4, size=3)


def test_batches_in_order_and_again(loader):
    assert len(loader) == 4
    expected = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert list(loader) == expected and list(loader) == expected


def test_it_goes_on_at_the_very_next_batch(loader):
    batches = iter(loader)
    for done in range(1, 5):
        next(batches)
        other = EpisodeLoader(range(100), batches=4, size=3)
        other.load_state_dict(loader.state_dict())
        assert list(other) == list(loader.__class__(range(100), 4, 3))[done % 4 :]
        assert next(iter(other)) == [0, 1, 2]  # only once


def test_a_pass_that_stops_early_changes_nothing_for_the_next(loader):
    assert list(islice(loader, 2)) == list(islice(loader, 2)) == [[0, 1, 2], [3, 4, 5]]


class Watched:
    """Episodes 0, 1, 2, ..., with who asked for them; `broken` raises."""

    def __init__(self, broken=None):
        self.asked, self.threads, self.broken = [], set(), broken

    def __getitem__(self, index):
        self.asked.append(index)
        self.threads.add(threading.current_thread().name)
        if index == self.broken:
            raise ZeroDivisionError(f"episode {index}")
        return index


def makers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("episodes")]


def wait_for(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_the_next_batch_is_made_by_another_thread_while_one_is_learned_from():
    episodes = Watched()
    batches = iter(EpisodeLoader(episodes, batches=4, size=3))
    assert next(batches) == [0, 1, 2]
    wait_for(lambda: len(episodes.asked) == 3 * AHEAD)  # without being asked for
    assert threading.current_thread().name not in episodes.threads
    time.sleep(0.02)
    assert len(episodes.asked) == 3 * AHEAD < 12  # and no more than these, however long one takes
    assert list(batches) == [[3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert episodes.asked == list(range(12))  # each once, in order


def test_what_was_made_but_not_handed_out_is_not_done():
    episodes = Watched()
    loader = EpisodeLoader(episodes, batches=4, size=3)
    next(batches := iter(loader))
    wait_for(lambda: len(episodes.asked) == 3 * AHEAD)
    assert loader.state_dict() == {"done": 1}
    next(batches)
    assert loader.state_dict() == {"done": 2}


def test_an_error_comes_with_the_batch_that_it_is_in():
    batches = iter(EpisodeLoader(Watched(broken=4), batches=4, size=3))
    assert next(batches) == [0, 1, 2]
    with pytest.raises(ZeroDivisionError, match="episode 4"):
        next(batches)
    assert not makers()


def interrupted(loader):
    for _ in loader:
        raise KeyboardInterrupt


def test_the_thread_ends_with_the_pass(loader):
    batches = iter(loader)
    next(batches)
    assert len(makers()) == 1
    list(batches)
    assert not makers()
    list(islice(loader, 2))
    assert not makers()
    with pytest.raises(KeyboardInterrupt):
        interrupted(loader)
    assert not makers()
    next(iter(loader))  # given up at once
    assert not makers()


def test_processes_share_each_batch_equally():
    shares = [list(EpisodeLoader(range(100), batches=3, size=6, rank=rank, processes=2)) for rank in (0, 1)]
    assert [one + other for one, other in zip(*shares, strict=True)] == list(EpisodeLoader(range(100), 3, 6))
    with pytest.raises(UserError, match=r"meta_batch is 5 and trainer\.devices makes 2 processes.*set meta_batch=6"):
        EpisodeLoader(range(100), batches=3, size=5, rank=0, processes=2)
