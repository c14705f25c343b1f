import dataclasses

import numpy as np
import pytest
import torch

from metalingua.text.batch import items_of, joined, pad, taken


def test_padding_follows_the_text_and_the_lengths_say_where():
    inputs = pad([np.array([5, 6, 7], np.int32), np.array([8], np.int32), np.array([9, 4], np.int32)], ["a", "b", "c"])
    assert inputs.tokens.tolist() == [[5, 6, 7], [8, 0, 0], [9, 4, 0]]
    assert inputs.lengths.tolist() == [3, 1, 2]
    assert inputs.tokens.dtype == inputs.lengths.dtype == torch.int64
    assert inputs.texts == ("a", "b", "c") and len(inputs) == 3


def test_the_mask_tells_padding_from_text():
    sequences = [np.array([1, 2]), np.array([3, 1, 1, 2])]
    inputs = pad(sequences, ["x", "y"])
    mask = torch.arange(inputs.tokens.shape[1]) < inputs.lengths.unsqueeze(1)
    assert inputs.tokens[mask].tolist() == [1, 2, 3, 1, 1, 2]
    assert inputs.tokens[~mask].eq(0).all() and mask.sum() == 6


@pytest.mark.parametrize(
    "sequences", [["a film"], [np.array([1]), "a film"], [["a", "film"]], [[0.5, 1.0]], [np.array([True])]]
)
def test_raw_strings_and_what_is_no_token_id_are_refused(sequences):  # the article hands texts to pad_sequences
    with pytest.raises(TypeError, match="is not a sequence of token ids; encode texts"):
        pad(sequences, ["text"] * len(sequences))


def test_an_empty_sequence_is_refused():
    with pytest.raises(ValueError, match="no tokens; an empty sequence cannot be masked"):
        pad([np.array([1]), np.array([], np.int32)], ["a", ""])


def test_a_batch_cannot_be_changed_by_whoever_is_handed_it():
    with pytest.raises(dataclasses.FrozenInstanceError):
        pad([np.array([1])], ["a"]).lengths = torch.tensor([9])


def test_two_batches_are_joined_as_if_they_had_been_padded_as_one():
    sequences = [np.array([5, 6, 7]), np.array([8]), np.array([9, 4])]
    for cut in (1, 2):  # the longer batch first, and last
        for order in (sequences, sequences[::-1]):
            whole, texts = pad(order, "abc"), ["a", "b", "c"]
            found = joined(pad(order[:cut], texts[:cut]), pad(order[cut:], texts[cut:]))
            assert torch.equal(found.tokens, whole.tokens) and torch.equal(found.lengths, whole.lengths)
            assert found.texts == ("a", "b", "c") and found.frequency is None


def test_a_joined_batch_keeps_how_frequent_the_words_of_its_episode_are():
    frequency = torch.tensor([0.0, 0.25, 0.75])
    first = dataclasses.replace(pad([np.array([1])], ["a"]), frequency=frequency)
    assert (
        joined(first, dataclasses.replace(pad([np.array([2, 1])], ["b"]), frequency=frequency)).frequency is frequency
    )


def test_texts_are_taken_in_the_order_asked_for_and_padding_they_do_not_need_is_cut():
    sequences = [np.array([5, 6, 7]), np.array([8]), np.array([9, 4])]
    batch = pad(sequences, ["a", "b", "c"])
    found, expected = taken(batch, torch.tensor([2, 1])), pad([sequences[2], sequences[1]], ["c", "b"])
    assert torch.equal(found.tokens, expected.tokens) and torch.equal(found.lengths, expected.lengths)
    assert found.texts == ("c", "b")
    assert taken(batch, torch.tensor([0])).tokens.shape == (1, 3)  # the longest keeps its length


def test_items_of_texts_go_with_them():
    at = torch.tensor([[0, 1], [0, 2], [1, 0], [2, 0], [2, 1]])
    batch = dataclasses.replace(pad([np.array([5, 6, 7]), np.array([8]), np.array([9, 4])], ["a", "b", "c"]), at=at,
                                second=torch.tensor([1, 0, 0]))  # fmt: skip
    found, order = taken(batch, torch.tensor([2, 0])), torch.tensor([2, 0])
    assert items_of(batch, order).tolist() == [3, 4, 0, 1]
    assert found.at.tolist() == [[0, 0], [0, 1], [1, 1], [1, 2]] and found.second.tolist() == [0, 1]
    asked = batch.tokens[batch.at[:, 0], batch.at[:, 1]][items_of(batch, order)]
    assert found.tokens[found.at[:, 0], found.at[:, 1]].tolist() == asked.tolist() == [9, 4, 6, 7]
    assert items_of(pad([np.array([1])], ["a"]), torch.tensor([0])).tolist() == [0]
