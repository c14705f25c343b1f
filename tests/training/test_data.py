"""Loaders whose batch n is a pure function of n."""

from itertools import islice

import pytest

from metalingua.training.data import EpisodeLoader


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
