import numpy as np
import pytest

from metalingua.text.normal import normal_form, position, words


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("A Good film!", "a good film"),
        ("good_film", "good film"),
        ("goodfilm", "good film"),  # spaces do not count
        ("ﬁlm № ２", "film no 2"),  # compatibility forms
        ("STRASSE", "straße"),  # case folding, not lower case
        ("cafe\u0301", "café"),  # combining marks are composed
        ("don't", "dont"),
    ],
)
def test_one_text_written_in_two_ways(text, same):
    assert normal_form(text) == normal_form(same) != ""
    assert position(text) == position(same)


@pytest.mark.parametrize(("text", "other"), [("good", "goods"), ("film 1", "film 2"), ("cafe", "café"), ("ab", "ba")])
def test_two_texts(text, other):
    assert normal_form(text) != normal_form(other)
    assert position(text) != position(other)


def test_words_are_runs_of_letters_and_digits():
    assert words("It's a_B-C 42nd — «straße»…") == ["it", "s", "a", "b", "c", "42nd", "strasse"]
    assert words("?! …") == []


def test_places_are_uniform_and_fixed():
    places = np.sort([position(f"text {i}") for i in range(2000)])
    assert places[0] >= 0 and places[-1] < 1
    assert np.abs(places - np.arange(2000) / 2000).max() < 1.63 / 2000**0.5  # Kolmogorov, p = 0.01
    # a new hash would move texts from one split of the same config to another
    assert position("A good film.") == pytest.approx(0.42654072134335214, abs=1e-12)
