"""The table that every encoder with words starts from."""

import pytest
import torch

from metalingua.model.bilstm_attention import BilstmAttentionEncoder
from metalingua.model.cnn import CnnEncoder
from metalingua.model.embedding import Embedding
from metalingua.model.lstm import LstmEncoder
from metalingua.model.transformer import TransformerEncoder
from metalingua.text.word import WordTokenizer

ENCODERS = {
    "lstm": lambda size, vectors: LstmEncoder(5, size, 3, "mean", vectors),
    "bilstm_attention": lambda size, vectors: BilstmAttentionEncoder(5, size, 3, 2, 2, vectors),
    "cnn": lambda size, vectors: CnnEncoder(5, size, 3, [2], vectors),
    "transformer": lambda size, vectors: TransformerEncoder(5, size, 1, 1, 3, 8, vectors),
}
TOKENIZER = WordTokenizer(5).fit(["good good good film film bad"])  # good, film, bad: 2, 3, 4


class Vectors:
    """good and bad have one; what was asked for is kept."""

    size = 4
    words = {"good": [8.0, -8, 8, -8], "bad": [1.0, 2, 3, 4], "[PAD]": [9.0] * 4, "[UNK]": [9.0] * 4}
    asked = None

    def table(self, vocabulary):
        self.asked = vocabulary
        found = [word for word in vocabulary if word in self.words]
        return torch.tensor([vocabulary[word] for word in found]), torch.tensor([self.words[word] for word in found])


def dice(seed=0):
    return torch.Generator().manual_seed(seed)


def test_words_that_are_found_start_from_their_vector_and_the_others_at_random_on_its_scale():
    vectors = Vectors()
    embedding = Embedding(5, 4, vectors)
    assert embedding.prepare(TOKENIZER) == "2 of the vocabulary's 3 words start from a ready-made vector"
    assert vectors.asked == {"good": 2, "film": 3, "bad": 4}  # padding and the unknown word are no words
    table, drawn = embedding.init(dice()), torch.randn(5, 4, generator=dice())
    assert table.dtype == torch.float32
    assert table[2].tolist() == [8, -8, 8, -8] and table[4].tolist() == [1, 2, 3, 4]
    given = torch.tensor([8.0, -8, 8, -8, 1, 2, 3, 4])
    torch.testing.assert_close(table[[0, 1, 3]], drawn[[0, 1, 3]] * given.sub(given.mean()).pow(2).mean().sqrt())
    assert torch.equal(embedding.init(dice()), table)  # nothing was written into the vectors, or by them
    assert not torch.equal(embedding.init(dice(1)), table)


def test_without_vectors_and_before_they_are_read_all_rows_are_random():
    drawn = torch.randn(5, 4, generator=dice()) * 0.1
    plain, waiting = Embedding(5, 4, None), Embedding(5, 4, Vectors())
    assert plain.prepare(TOKENIZER) is None
    assert torch.equal(plain.init(dice()), drawn) and torch.equal(waiting.init(dice()), drawn)
    assert waiting.vectors.asked is None


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_with_words_takes_vectors(name):
    plain, given = ENCODERS[name](4, None), ENCODERS[name](4, Vectors())
    assert plain.prepare(TOKENIZER, []) is None and given.prepare(TOKENIZER, []).startswith("2 of")
    plain, given = plain.init(dice()), given.init(dice())
    assert given["embedding.weight"][4].tolist() == [1, 2, 3, 4]
    for other in set(plain) - {"embedding.weight"}:  # the other parameters are the same with vectors and without
        assert torch.equal(plain[other], given[other]), other


@pytest.mark.parametrize("name", ENCODERS)
def test_vectors_of_another_size_are_refused(name):
    key = "model.dim" if name == "transformer" else "model.embedding"
    with pytest.raises(ValueError, match=f"{key} is 6 and model.vectors.size is 4: they must be equal; set {key}=4"):
        ENCODERS[name](6, Vectors())
