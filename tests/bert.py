"""A tiny pretrained encoder with its tokenizer, as transformers writes one: random weights, 2 layers of 8 numbers."""

import json

import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel

from metalingua.corpus.folder import Folder
from metalingua.model.huggingface import PretrainedEncoder
from metalingua.text.pretrained import PretrainedTokenizer

WORDS = ["fine", "lovely", "warm", "bright", "kind", "poor", "awful", "cold", "dull", "mean", "good", "bad", "film",
         "shop", "tea", "cup", "door", "road", "lamp"]  # fmt: skip
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
SIZES = {"vocab_size": len(SPECIAL) + len(WORDS), "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 12, "max_position_embeddings": 20}  # fmt: skip
TEXTS = ["Good film", "a bad shop", "tea cup door road lamp kind", "lovely", "cold dull mean awful"]


def save(folder, seed=0, words=WORDS, **sizes):
    """The folder, with config.json, model.safetensors and tokenizer.json."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    config = BertConfig(**{**SIZES, **sizes}, initializer_range=0.5)
    BertModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(SPECIAL + words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "unk_token": "[UNK]",
                    "cls_token": "[CLS]", "sep_token": "[SEP]"})
    )  # fmt: skip
    return folder


def encoder(folder, **settings):
    given = {"tuning": "frozen", "layers": 1, "lora_rank": 2, "pooling": "mean", "normalize": False,
             "dtype": "float32", "max_length": 12, "cache": str(folder / "cache")}  # fmt: skip
    return PretrainedEncoder(**{"source": Folder(str(folder)), **given, **settings})


def tokenizer(folder):
    return PretrainedTokenizer(Folder(str(folder)))
