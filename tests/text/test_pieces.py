import json

import pytest
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE, WordLevel, WordPiece

from metalingua.text.pieces import begins, text


def built(model, **steps):
    tokenizer = Tokenizer(model)
    for name, step in steps.items():
        setattr(tokenizer, name, step)
    tokenizer.add_special_tokens(["<mask>"])
    return tokenizer


def numbered(*pieces):
    return {piece: number for number, piece in enumerate(pieces)}


BYTES = {"pre_tokenizer": pre_tokenizers.ByteLevel(), "decoder": decoders.ByteLevel()}
KINDS = {
    "words": (built(WordLevel(numbered("ing", "##ing", "Ġsee"))), ["ing", "##ing", "Ġsee", "<mask>"]),
    "wordpiece": (built(WordPiece(numbered("see", "ing", "##ing", ","))), ["see", "ing", ",", "<mask>"]),
    "bytes": (built(BPE(numbered("Ġsee", "ing", ",", "Ġ", "Ã", "'t"), []), **BYTES), ["Ġsee", ",", "Ġ", "<mask>"]),
    "metaspace": (
        built(BPE(numbered("▁see", "ing", ","), []), pre_tokenizer=pre_tokenizers.Metaspace()),
        ["▁see", ",", "<mask>"],
    ),
    "llama": (
        built(BPE(numbered("▁see", "ing", ","), []), normalizer=normalizers.Replace(" ", "▁")),
        ["▁see", ",", "<mask>"],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_which_tokens_begin(kind):
    tokenizer, expected = KINDS[kind]
    found = begins(tokenizer)
    assert [tokenizer.id_to_token(i) for i in found.nonzero()[0].tolist()] == expected
    assert json.loads(tokenizer.to_str())["truncation"] is None


def test_special_tokens_stand_apart():
    tokenizer, _ = KINDS["bytes"]
    see, ing, mask = (tokenizer.token_to_id(each) for each in ("Ġsee", "ing", "<mask>"))
    assert text(tokenizer, [see, mask, mask, see, ing]) == "see <mask> <mask> seeing"
    assert text(tokenizer, [see, see]) == "see see" and text(tokenizer, []) == ""
