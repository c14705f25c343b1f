"""A small Transformer encoder, trained from scratch."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from metalingua.error import UserError
from metalingua.limit import AtLeast, limited
from metalingua.model import layer
from metalingua.model.derivative import transformed
from metalingua.model.dropout import dropped
from metalingua.model.embedding import Embedding
from metalingua.model.model import Encoder, Params
from metalingua.text.batch import Inputs
from metalingua.text.tokenizer import Tokenizer
from metalingua.text.vectors import Vectors

if TYPE_CHECKING:
    from transformers import BertModel

LAYER = (  # in the order of layer.Weights
    "self_attn.in_proj_weight",
    "self_attn.in_proj_bias",
    "self_attn.out_proj.weight",
    "self_attn.out_proj.bias",
    "linear1.weight",
    "linear1.bias",
    "linear2.weight",
    "linear2.bias",
    "norm1.weight",
    "norm1.bias",
    "norm2.weight",
    "norm2.bias",
)


class TransformerEncoder(Encoder):
    """Embedding(vocabulary, dim) + learned positions (-> norm) -> post-norm layers -> mean over the real tokens.

    Vaswani et al. (2017), arXiv:1706.03762, section 3, as torch.nn.TransformerEncoderLayer has it, without dropout
    inside it: where inputs carry noise, numbers of the embedded tokens and of every layer's output are dropped.
    What conf/model/transformer.yaml builds.

    vocabulary  rows of the embedding table, padding (id 0) included
    dim         numbers a token has between layers
    layers      self-attention, then two linear maps with a ReLU between, each added to its input and normalised
    heads       of the attention, dim/heads numbers each
    ffn         numbers between the two linear maps
    max_length  positions that are learned: tokens of the longest text
    vectors     of words, that the table starts from (conf/vectors); null: random rows
    parts       whether tokens of texts of two parts (`Inputs.second`) are told apart: in the first part, in the second,
                or in the second and in the first too. The last is the exact match of Chen et al. (2017),
                arXiv:1704.00051, section 3.2: which words two parts share is hard to learn from little text
    embedding_norm   whether a token's sum of embedding and position is normalised, as BERT's is (Devlin et al. 2019):
                without it the network is none that transformers has (model/bert.py)

    Raises ValueError, naming the config key, for a size that is too small or heads that do not divide dim.
    """

    rows = "embedding.weight"  # its first axis is token ids: the engine hands a task only the rows its episode uses
    derivatives = 2
    vmaps = True
    of_tokens = True
    drops = True
    counts = 1  # parts of a text whose positions are counted from 0

    @limited("model")
    def __init__(
        self,
        vocabulary: Annotated[int, AtLeast(2)],  # a word beside padding
        dim: Annotated[int, AtLeast(1)],
        layers: Annotated[int, AtLeast(1)],
        heads: Annotated[int, AtLeast(1)],
        ffn: Annotated[int, AtLeast(1)],
        max_length: Annotated[int, AtLeast(1)],
        vectors: Vectors | None = None,
        embedding_norm: bool = False,
        parts: bool = False,
    ):
        if dim % heads:
            raise ValueError(
                f"model.heads is {heads} and model.dim is {dim}: model.dim must be a multiple of model.heads"
            )
        self.dim, self.layers, self.heads, self.ffn, self.max_length = dim, layers, heads, ffn, max_length
        self.table = Embedding(vocabulary, dim, vectors, key="model.dim")
        self.size, self.embedding_norm, self.parts = dim, embedding_norm, parts

    def prepare(self, tokenizer: Tokenizer, texts: Sequence[str]) -> str | None:
        return self.table.prepare(tokenizer)

    def init(self, generator: torch.Generator) -> Params:
        """New parameters, float32; a pure function of the generator's state.

        embedding.weight [vocabulary, dim]: as in embedding.py.
        positions.weight [counts * max_length, dim], parts.weight [3, dim], where parts are told apart: N(0, 0.1^2).
        embedding_norm.weight, .bias [dim]: 1 and 0.
        layers.I.*, named and shaped as torch.nn.TransformerEncoderLayer's, and started as it does: in_proj_weight
        [3 dim, dim] U(-b, b) with b = sqrt(6 / (4 dim)), biases of the attention 0, out_proj.weight [dim, dim] and
        linear1.*, linear2.* U(-b, b) with b = 1/sqrt(inputs), norms 1 and 0.
        """
        dim, ffn = self.dim, self.ffn

        def uniform(bound: float, *shape: int) -> Tensor:
            return torch.empty(shape).uniform_(-bound, bound, generator=generator)

        params = {
            "embedding.weight": self.table.init(generator),
            "positions.weight": torch.randn(self.counts * self.max_length, dim, generator=generator) * 0.1,
        }
        if self.parts:
            params["parts.weight"] = torch.randn(3, dim, generator=generator) * 0.1
        if self.embedding_norm:
            params |= {"embedding_norm.weight": torch.ones(dim), "embedding_norm.bias": torch.zeros(dim)}
        for i in range(self.layers):
            layer = {
                "self_attn.in_proj_weight": uniform(math.sqrt(6 / (4 * dim)), 3 * dim, dim),
                "self_attn.in_proj_bias": torch.zeros(3 * dim),
                "self_attn.out_proj.weight": uniform(1 / math.sqrt(dim), dim, dim),
                "self_attn.out_proj.bias": torch.zeros(dim),
                "linear1.weight": uniform(1 / math.sqrt(dim), ffn, dim),
                "linear1.bias": uniform(1 / math.sqrt(dim), ffn),
                "linear2.weight": uniform(1 / math.sqrt(ffn), dim, ffn),
                "linear2.bias": uniform(1 / math.sqrt(ffn), dim),
                "norm1.weight": torch.ones(dim),
                "norm1.bias": torch.zeros(dim),
                "norm2.weight": torch.ones(dim),
                "norm2.bias": torch.zeros(dim),
            }
            params |= {f"layers.{i}.{name}": value for name, value in layer.items()}
        return params

    def features(self, params: Params, inputs: Inputs) -> Tensor:
        """One vector per text, [items, dim].

        inputs.tokens   [items, length] int64, rows of params["embedding.weight"]; padding at the end
        inputs.lengths  [items] int64, real tokens per text, 1 or more

        Raises ValueError for texts longer than max_length.
        """
        x = self._last_layer(params, inputs)
        weight = self._real(inputs).t().to(x.dtype) / inputs.lengths
        return (x * weight.unsqueeze(2)).sum(0)

    def token_features(self, params: Params, inputs: Inputs) -> Tensor:
        """What the last layer gives for each token, [items, length, dim]."""
        return self._last_layer(params, inputs).transpose(0, 1)

    def exported(self, params: Params) -> "BertModel":
        from metalingua.model.bert import bert

        if self.parts:
            raise UserError("model.parts is true, and transformers has no model that is told what two parts share")
        if not self.embedding_norm:
            raise UserError(
                "model.embedding_norm is false, and transformers has no model without a norm of the embeddings: train "
                "the run again with model.embedding_norm=true"
            )
        return bert(params, self.heads)

    def _real(self, inputs: Inputs) -> Tensor:
        """[items, length], whether a token is no padding."""
        return torch.arange(inputs.tokens.shape[1], device=inputs.tokens.device) < inputs.lengths.unsqueeze(1)

    def _places(self, inputs: Inputs) -> Tensor:
        """[length, 1 or items], which row of the positions a token has."""
        length = inputs.tokens.shape[1]
        if length > self.max_length:
            raise ValueError(
                f"a text has {length} tokens and model.max_length is {self.max_length}: the model has no positions "
                "beyond that; give model.max_length the value of task.max_length"
            )
        return torch.arange(length, device=inputs.tokens.device).unsqueeze(1)

    def _read(self, inputs: Inputs) -> Tensor:
        """[items, 1 or length, length], whether the token of the second axis, or any, may look at that of the third."""
        return self._real(inputs).unsqueeze(1)

    def _last_layer(self, params: Params, inputs: Inputs) -> Tensor:
        """[length, items, dim]."""
        tokens = inputs.tokens
        # time before texts: then a head of a text is a strided matrix, and nothing need be copied to split the heads
        x = F.embedding(tokens.t(), params["embedding.weight"]) + params["positions.weight"][self._places(inputs)]
        if self.parts and inputs.second is not None:
            x = x + F.embedding(_parts(inputs, self._real(inputs)).t(), params["parts.weight"])
        read = self._read(inputs)
        mask = x.new_zeros(read.shape).masked_fill(~read, -math.inf).repeat_interleave(self.heads, 0)
        by_hand = x.device.type == "cpu" and not transformed() and not torch.is_autocast_enabled("cpu")
        one, shape = layer.twice if by_hand else layer.plain, x.shape
        x = x.flatten(0, 1)
        if self.embedding_norm:
            x = layer.norm(x, params["embedding_norm.weight"], params["embedding_norm.bias"])
        x = dropped(x, inputs.noise, 0)
        for i in range(self.layers):
            x = one(x, mask, layer.Weights(*(params[f"layers.{i}.{name}"] for name in LAYER)), self.heads)
            x = dropped(x, inputs.noise, 1 + i)
        return x.view(shape)


def _parts(inputs: Inputs, real: Tensor) -> Tensor:
    """[items, length] int64: 0 for a token of the first part, 1 for one of the second, 2 if it is in the first too."""
    assert inputs.second is not None
    later = torch.arange(real.shape[1], device=real.device) >= inputs.second.unsqueeze(1)
    same = inputs.tokens.unsqueeze(2) == inputs.tokens.unsqueeze(1)  # [items, length, length]
    shared = (same & (~later & real).unsqueeze(1)).any(2)
    return later.long() + (later & shared).long()
