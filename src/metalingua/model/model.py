"""A model: an encoder's features under one linear head a problem. Pure functions of (params, inputs)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from zlib import crc32

import torch
from torch import Tensor
from torch.nn.functional import linear

from metalingua.error import UserError
from metalingua.model.derivative import transformed
from metalingua.problem.problem import Problem
from metalingua.text.batch import Inputs, taken
from metalingua.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Params = dict[str, Tensor]
AT_ONCE = 256  # texts answered together without gradients: 1,000 reviews at once take seven times as long on a CPU


class Encoder:
    """What conf/model builds: texts to features."""

    rows = ""  # the parameter whose first axis is token ids; "" where none of those that are learned is such a table
    learns = True  # whether anything of it is learned; False: its features are what they are
    size: int  # features a text
    derivatives = 2  # highest derivative it has: 2, or 1 for kernels without a double backward
    vmaps = False  # whether it runs under torch.vmap, its derivatives too
    of_tokens = False  # whether it has `token_features`
    tells = False  # whether a token of a text's second part is read without those behind it, so that they can be told
    drops = False  # whether its features follow `inputs.noise`

    def prepare(self, tokenizer: Tokenizer, texts: Sequence[str]) -> str | None:
        """Told once, before `init`, how texts are read, and every text that any task may draw.

        Returns what the person at the terminal should know of it, if anything.
        """
        return None

    def init(self, generator: torch.Generator) -> Params:
        """The parameters that are learned, as they are at first; a pure function of the generator's state."""
        raise NotImplementedError

    def features(self, params: Params, inputs: Inputs) -> Tensor:
        """[items, size]. `inputs.tokens` index params[self.rows]; `inputs.token_ids` are the tokenizer's own."""
        raise NotImplementedError

    def token_features(self, params: Params, inputs: Inputs) -> Tensor:
        """[items, length, size], those of every token in its text; what stands at padding means nothing.

        Raises NotImplementedError where there are none: `of_tokens` says so.
        """
        raise NotImplementedError(f"{type(self).__name__} has no features of single tokens")

    def keep(self, inputs: Inputs) -> None:
        """Work out what is worked out once for a text and found again after that, if anything is: no learner's time."""
        if not self.learns:
            (self.features if inputs.at is None else self.token_features)({}, inputs)

    def exported(self, params: Params) -> "PreTrainedModel":
        """The same encoder as one of transformers', in float32. Raises UserError where there is none."""
        raise UserError(
            f"{type(self).__name__} is no model that transformers has: what can be exported is model=transformer, and "
            "model=huggingface or minilm with model.tuning=last_layers, lora or full"
        )


class Model:
    """The shared parameters theta: `encoder.*`, and `head.NAME.*` for every problem name (the article's W1, W2)."""

    def __init__(self, encoder: Encoder, heads: Mapping[str, int]):
        """`heads`: problem name to outputs; 0 for a head that is tied to the embedding table."""
        self.encoder, self.heads = encoder, dict(heads)
        self.start: Params = {}  # in place of the fresh values of these names
        self.rows = f"encoder.{encoder.rows}"  # "encoder." is no parameter's name, nor the end of one

    def init(self, seed: int) -> Params:
        """Parameters to begin with: those of `start`, the others fresh, the same for the same seed. Fresh heads are
        zero, so no class is preferred."""
        encoder = self.encoder.init(torch.Generator().manual_seed(seed))
        params = {f"encoder.{name}": value for name, value in encoder.items()}
        for name, outputs in self.heads.items():
            rows, columns = (outputs, outputs) if outputs else params[self.rows].shape
            params[f"head.{name}.weight"] = torch.zeros(columns, self.encoder.size)
            params[f"head.{name}.bias"] = torch.zeros(rows)
        return params | self.start

    def random_heads(self, seed: int) -> Params:
        """Weights of heads [outputs, size] as torch.nn.Linear's, U(-1/sqrt(size), 1/sqrt(size)), in place of zero: for
        learners that adapt what is below a head and not the head, since no gradient passes one of zeros. Not of those
        that `start` has, nor of tied ones."""
        dice = torch.Generator().manual_seed(seed + crc32(b"head"))  # not the draws that made the encoder
        bound, size = 1 / math.sqrt(self.encoder.size), self.encoder.size
        return {
            f"head.{name}.weight": torch.empty(outputs, size).uniform_(-bound, bound, generator=dice)
            for name, outputs in self.heads.items()
            if outputs and f"head.{name}.weight" not in self.start
        }

    def names(self, params: Params, problem: Problem) -> list[str]:
        """The parameters that answers to `problem` depend on: the encoder's and this problem's head."""
        return [name for name in params if name.startswith(("encoder.", f"head.{problem.name}."))]

    def features(self, params: Params, inputs: Inputs) -> Tensor:
        """[items, encoder.size]; an item is a text, or a token of one where `inputs.at` says so."""
        mine = {k.removeprefix("encoder."): v for k, v in params.items() if k.startswith("encoder.")}
        if inputs.at is None:
            if torch.is_grad_enabled() or transformed() or inputs.noise is not None or len(inputs) <= AT_ONCE:
                return self.encoder.features(mine, inputs)
            parts = torch.arange(len(inputs)).split(AT_ONCE)
            return torch.cat([self.encoder.features(mine, taken(inputs, part)) for part in parts])
        text, place = inputs.at[:, 0], inputs.at[:, 1]
        if torch.is_grad_enabled() or transformed() or inputs.noise is not None or len(inputs.texts) <= AT_ONCE:
            return self.encoder.token_features(mine, inputs)[text, place]
        found = None
        for part in torch.arange(len(inputs.texts), device=text.device).split(AT_ONCE):
            here = (text >= part[0]) & (text <= part[-1])
            features = self.encoder.token_features(mine, taken(replace(inputs, at=None), part))
            found = features.new_empty(len(text), features.shape[2]) if found is None else found
            found[here] = features[text[here] - part[0], place[here]]
        assert found is not None
        return found

    def outputs(self, params: Params, inputs: Inputs, problem: Problem) -> Tensor:
        """[items, problem.outputs]. Raises KeyError for a problem without a head."""
        return self.answers(params, self.features(params, inputs), problem)

    def answers(self, params: Params, features: Tensor, problem: Problem) -> Tensor:
        """[items, problem.outputs], what the head makes of `features` [items, encoder.size].

        A tied head maps features to the space of token embeddings, where a token's score is the product with its row
        (Press & Wolf 2017, arXiv:1608.05859).
        """
        weight, bias = (params[f"head.{problem.name}.{part}"] for part in ("weight", "bias"))
        return (
            linear(linear(features, weight), params[self.rows], bias)
            if problem.tied
            else linear(features, weight, bias)
        )
