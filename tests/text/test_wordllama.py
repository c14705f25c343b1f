"""WordLlama's two files: small ones that the tests write, and the real ones where they lie in data/."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from tokenizers import Tokenizer, normalizers, processors
from tokenizers.models import BPE
from torch.testing import assert_close

from metalingua.text.vectors import VectorsError
from metalingua.text.wordllama import PIECES, VALUES, Wordllama, WordllamaTokenizer

REPO = Path(__file__).parents[2]
VOCABULARY = {
    piece: i for i, piece in enumerate(["<unk>", "<s>", "</s>", "▁", "f", "i", "l", "m", "il", "▁f", "▁film"])
}
MERGES = [("i", "l"), ("▁", "f")]
TABLE = np.arange(22, dtype="<f2").reshape(11, 2)


class Distribution:
    """The two files, in memory."""

    def __init__(self):
        tokenizer = Tokenizer(BPE(VOCABULARY, MERGES, unk_token="<unk>"))
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
        about = {"embedding.weight": {"dtype": "F16", "shape": [11, 2], "data_offsets": [0, 44]}}
        header = json.dumps(about).encode()
        self.files = {
            PIECES: tokenizer.to_str().encode(),
            VALUES: len(header).to_bytes(8, "little") + header + TABLE.tobytes(),
        }
        self.read = []

    def member(self, cache, *members):
        self.read += members
        return self.files[members[-1]]


def small(size=2):
    return Wordllama(size, Distribution(), "cache")


def test_a_words_vector_is_the_mean_of_its_pieces():
    rows, values = small().table({"film": 3, "ff": 7})
    assert rows.tolist() == [3, 7] and values.dtype == torch.float32
    film = TABLE[[VOCABULARY[piece] for piece in ("▁f", "il", "m")]]
    ff = TABLE[[VOCABULARY[piece] for piece in ("▁f", "f")]]
    assert_close(values, torch.tensor(np.stack([film.mean(0), ff.mean(0)]), dtype=torch.float32))


def test_its_own_pieces_have_their_vectors_as_they_are():
    rows, values = small().table({"▁f": 9, "il": 8})
    assert rows.tolist() == [9, 8] and values.tolist() == TABLE[[9, 8]].tolist()
    _, read = small().table({"▁f": 8, "il": 9})  # other ids: another vocabulary, so its words are read
    assert read.tolist() != TABLE[[9, 8]].tolist()


def test_nothing_is_read_before_it_is_needed():
    vectors = small()
    tokenizer = WordllamaTokenizer(11, vectors).fit(["film"])
    assert vectors.distribution.read == []
    assert tokenizer.vocabulary == VOCABULARY and vectors.distribution.read == [PIECES]
    tokenizer.encode(["film"], 3)
    assert vectors.distribution.read == [PIECES]


def test_texts_as_pieces():
    tokenizer = WordllamaTokenizer(11, small())
    pieces = {i: piece for piece, i in VOCABULARY.items()}
    found = tokenizer.encode(["film  \n film", "film", "", " \t"], 4)
    assert [[pieces[i] for i in each.tolist()] for each in found] == [
        ["▁f", "il", "m", "▁f"], ["▁f", "il", "m"], ["<s>"], ["<s>"],
    ]  # fmt: skip
    assert all(each.dtype == np.int32 for each in found)
    written = Tokenizer.from_str(tokenizer.to_json())
    assert written.encode("film film").tokens == ["▁f", "il", "m", "▁f", "il", "m"]  # not cut, and no "<s>"


def test_another_size_than_the_files_is_refused():
    with pytest.raises(VectorsError, match=r"vectors of 2 numbers, and model\.vectors\.size is 3; set .*=2"):
        small(3).table({"film": 3})
    with pytest.raises(VectorsError, match=r"text\.size is 10, and there are 11 pieces; set text\.size=11"):
        _ = WordllamaTokenizer(10, small()).vocabulary


def test_a_folder_that_cannot_be_written_is_named(monkeypatch):
    vectors = small()

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(vectors.distribution, "member", full)
    with pytest.raises(VectorsError, match="corpus.cache is cache, .* No space left .*set corpus.cache"):
        vectors.table({"film": 3})


@pytest.fixture(scope="module")
def real():
    """conf/text/wordllama.yaml's tokenizer, whose vectors are conf/vectors/wordllama.yaml's."""
    cfg = OmegaConf.create({"corpus": {"cache": str(REPO / "data")}})
    cfg.vectors = OmegaConf.load(REPO / "conf/vectors/wordllama.yaml")
    vectors = instantiate(cfg.vectors)
    if not vectors.distribution.present(vectors.cache):
        pytest.skip(f"{cfg.vectors.distribution.file} is not in data/; a run with text=wordllama fetches it")
    return WordllamaTokenizer(OmegaConf.load(REPO / "conf/text/wordllama.yaml").size, vectors)


def test_the_real_vectors_know_what_words_mean(real):
    words = ["film", "movie", "great", "terrible", "banana"]
    rows, values = real.vectors.table({word: 2 + i for i, word in enumerate(words)})
    assert rows.tolist() == [2, 3, 4, 5, 6] and values.shape == (5, 256)
    near = torch.cosine_similarity(values[0], values[1:], dim=1)
    assert near.argmax() == 0 and near[0] > 0.5 > near[1:].max()


def test_the_real_pieces_have_their_own_vectors(real):
    assert len(real.vocabulary) == real.size and real.vocabulary["▁film"] == 2706
    (ids,) = real.encode(["A film\n日"], 9)
    pieces = {i: piece for piece, i in real.vocabulary.items()}
    assert [pieces[i] for i in ids.tolist()] == ["▁A", "▁film", "▁", "日"]
    _, piece = real.vectors.table({"▁film": 2706})
    _, word = real.vectors.table({"film": 9})
    assert_close(piece, word)
