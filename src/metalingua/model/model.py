"""A model: an encoder's features under one linear head a problem. Pure functions of (params, inputs)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

from metalingua.problem.problem import Problem
from metalingua.text.batch import Inputs
from metalingua.text.tokenizer import Tokenizer

Params = dict[str, Tensor]


class Encoder:
    """What conf/model builds: texts to features."""

    rows = ""  # the parameter whose first axis is token ids; "" where none of those that are learned is such a table
    size: int  # features a text
    derivatives = 2  # highest derivative it has: 2, or 1 for kernels without a double backward
    vmaps = False  # whether it runs under torch.vmap, its derivatives too

    def prepare(self, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        """Told once, before `init`, how texts are read, and every text that any task may draw."""

    def init(self, generator: torch.Generator) -> Params:
        """The parameters that are learned, as they are at first; a pure function of the generator's state."""
        raise NotImplementedError

    def features(self, params: Params, inputs: Inputs) -> Tensor:
        """[items, size]. `inputs.tokens` index params[self.rows]; `inputs.token_ids` are the tokenizer's own."""
        raise NotImplementedError


class Model:
    """The shared parameters theta: `encoder.*`, and `head.NAME.*` for every problem name (the article's W1, W2)."""

    def __init__(self, encoder: Encoder, heads: Mapping[str, int]):
        """`heads`: problem name to outputs."""
        self.encoder, self.heads = encoder, dict(heads)
        self.start: Params = {}  # in place of the fresh values of these names
        self.rows = f"encoder.{encoder.rows}"  # "encoder." is no parameter's name, nor the end of one

    def init(self, seed: int) -> Params:
        """Parameters to begin with: those of `start`, the others fresh, the same for the same seed. Fresh heads are
        zero, so no class is preferred."""
        encoder = self.encoder.init(torch.Generator().manual_seed(seed))
        params = {f"encoder.{name}": value for name, value in encoder.items()}
        for name, outputs in self.heads.items():
            params[f"head.{name}.weight"] = torch.zeros(outputs, self.encoder.size)
            params[f"head.{name}.bias"] = torch.zeros(outputs)
        return params | self.start

    def names(self, params: Params, problem: Problem) -> list[str]:
        """The parameters that answers to `problem` depend on: the encoder's and this problem's head."""
        return [name for name in params if name.startswith(("encoder.", f"head.{problem.name}."))]

    def features(self, params: Params, inputs: Inputs) -> Tensor:
        """[items, encoder.size]."""
        return self.encoder.features(
            {k.removeprefix("encoder."): v for k, v in params.items() if k.startswith("encoder.")}, inputs
        )

    def outputs(self, params: Params, inputs: Inputs, problem: Problem) -> Tensor:
        """[items, problem.outputs]. Raises KeyError for a problem without a head."""
        head = f"head.{problem.name}"
        return linear(self.features(params, inputs), params[f"{head}.weight"], params[f"{head}.bias"])
