"""A small Transformer for two parts of a text, the second of which is said token by token."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metalingua.error import UserError
from metalingua.model.model import Params
from metalingua.model.transformer import TransformerEncoder
from metalingua.text.batch import Inputs

if TYPE_CHECKING:
    from transformers import BertModel


class Seq2SeqTransformer(TransformerEncoder):
    """`TransformerEncoder` under the mask of a prefix language model (Raffel et al. 2020, arXiv:1910.10683, figure 4):
    a token of the first part reads all of that part; one of the second reads the first part, and of the second what
    stands before it. The same layers so encode and decode, and attend from one to the other.
    What conf/model/seq2seq_transformer.yaml builds.

    Positions are counted in each part anew, and learned for each part, `max_length` of them. Texts without a second
    part are read as by `TransformerEncoder`. Its arguments and errors are that one's.
    """

    vmaps = False  # a translation is made token by token, and tasks are of no one shape then
    tells = True
    counts = 2

    def _places(self, inputs: Inputs) -> Tensor:
        if inputs.second is None:
            return super()._places(inputs)
        longest = max(int(inputs.second.max()), int((inputs.lengths - inputs.second).max()))
        if longest > self.max_length:
            raise ValueError(
                f"a part of a text has {longest} tokens and model.max_length is {self.max_length}: the model has no "
                "positions beyond that; give model.max_length the value of task.max_length"
            )
        place = torch.arange(inputs.tokens.shape[1], device=inputs.tokens.device).unsqueeze(1)
        # padding behind the second part has a place too, which nothing reads
        second = (self.max_length + place - inputs.second).clamp(max=2 * self.max_length - 1)
        return torch.where(place < inputs.second, place, second)

    def _read(self, inputs: Inputs) -> Tensor:
        real = super()._read(inputs)
        if inputs.second is None:
            return real
        place = torch.arange(inputs.tokens.shape[1], device=inputs.tokens.device)
        first = place < inputs.second.view(-1, 1, 1)  # whether the key is of the first part
        return real & (first | (place <= place.unsqueeze(1)))

    def exported(self, params: Params) -> "BertModel":
        raise UserError("Seq2SeqTransformer is no model that transformers has: a BERT reads both ways everywhere")
