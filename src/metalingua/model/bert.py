"""Our Transformer as transformers' BertModel: the same function of token ids, under other names."""

from typing import TYPE_CHECKING

import torch

from metalingua.model.layer import EPSILON
from metalingua.model.model import Params

if TYPE_CHECKING:
    from transformers import BertModel

NAMES = {  # of a layer: ours to BERT's; the attention's input weights are three there
    "self_attn.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "linear1": "intermediate.dense",
    "linear2": "output.dense",
    "norm2": "output.LayerNorm",
}


def bert(params: Params, heads: int) -> "BertModel":
    """A BertModel whose last hidden states are the `token_features` of a TransformerEncoder with `heads` and `params`.
    The norm of embeddings is needed.

    It has no second kind of text, so the one embedding of a text's kind is zero. AutoModel builds a pooler whatever the
    files say, and one that they lack would be random: its weights are here, all zero, and so is what it gives.
    """
    from transformers import BertConfig, BertModel

    words, dim = params["embedding.weight"].shape
    layers = sum(name.endswith("linear1.weight") for name in params)
    config = BertConfig(
        vocab_size=words,
        hidden_size=dim,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=len(params["layers.0.linear1.weight"]),
        max_position_embeddings=len(params["positions.weight"]),
        hidden_act="relu",
        layer_norm_eps=EPSILON,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
    )
    state = {
        "embeddings.word_embeddings.weight": params["embedding.weight"],
        "embeddings.position_embeddings.weight": params["positions.weight"],
        "embeddings.token_type_embeddings.weight": torch.zeros(1, dim),
        "embeddings.LayerNorm.weight": params["embedding_norm.weight"],
        "embeddings.LayerNorm.bias": params["embedding_norm.bias"],
        "pooler.dense.weight": torch.zeros(dim, dim),
        "pooler.dense.bias": torch.zeros(dim),
    }
    for i in range(layers):
        for part in ("weight", "bias"):
            parts = params[f"layers.{i}.self_attn.in_proj_{part}"].chunk(3)
            for name, value in zip(("query", "key", "value"), parts, strict=True):
                state[f"encoder.layer.{i}.attention.self.{name}.{part}"] = value
            for ours, theirs in NAMES.items():
                state[f"encoder.layer.{i}.{theirs}.{part}"] = params[f"layers.{i}.{ours}.{part}"]
    model = BertModel(config)
    model.load_state_dict({name: value.detach().float().contiguous() for name, value in state.items()}, strict=True)
    return model.eval()
