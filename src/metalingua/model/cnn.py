"""Kim's convolutional encoder: token embedding, filters of a few widths, each one's greatest response over the text."""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from metalingua.limit import AtLeast, limited
from metalingua.model import lookup
from metalingua.model.dropout import dropped
from metalingua.model.embedding import Embedding
from metalingua.model.model import Encoder, Params
from metalingua.text.batch import Inputs
from metalingua.text.tokenizer import Tokenizer
from metalingua.text.vectors import Vectors


class CnnEncoder(Encoder):
    """Embedding(vocabulary, embedding) -> Conv1d(filters) of each width -> ReLU -> maximum over time, concatenated.

    Kim (2014), arXiv:1408.5882, section 2; dropout, of the features as there, only where inputs carry noise.
    What conf/model/cnn.yaml builds.

    vocabulary  rows of the embedding table, padding (id 0) included
    filters     of each width
    widths      words that a filter reads; features come in this order
    vectors     of words, that the table starts from (conf/vectors); null: random rows

    Raises ValueError, naming the config key, for a size that is too small.
    """

    rows = "embedding.weight"  # its first axis is token ids: the engine hands a task only the rows its episode uses
    derivatives = 2
    vmaps = True
    drops = True

    @limited("model")
    def __init__(
        self,
        vocabulary: Annotated[int, AtLeast(2)],  # a word beside padding
        embedding: Annotated[int, AtLeast(1)],
        filters: Annotated[int, AtLeast(1)],
        widths: Sequence[int],
        vectors: Vectors | None = None,
    ):
        if not widths or not all(isinstance(width, int) and width >= 1 for width in widths):
            raise ValueError(f"model.widths is {list(widths)}: it must be one or more whole numbers, each at least 1")
        self.embedding, self.filters, self.widths = embedding, filters, tuple(widths)
        self.table = Embedding(vocabulary, embedding, vectors)
        self.size = filters * len(self.widths)

    def prepare(self, tokenizer: Tokenizer, texts: Sequence[str]) -> str | None:
        return self.table.prepare(tokenizer)

    def init(self, generator: torch.Generator) -> Params:
        """New parameters, float32; a pure function of the generator's state.

        embedding.weight [vocabulary, embedding]: as in embedding.py.
        convs.I.weight [filters, embedding, width], convs.I.bias [filters] for the I-th width: U(-b, b) with
        b = 1/sqrt(embedding * width), as torch.nn.Conv1d.
        """
        params = {"embedding.weight": self.table.init(generator)}
        for i, width in enumerate(self.widths):
            bound = 1 / math.sqrt(self.embedding * width)
            weight, bias = torch.empty(self.filters, self.embedding, width), torch.empty(self.filters)
            params[f"convs.{i}.weight"] = weight.uniform_(-bound, bound, generator=generator)
            params[f"convs.{i}.bias"] = bias.uniform_(-bound, bound, generator=generator)
        return params

    def features(self, params: Params, inputs: Inputs) -> Tensor:
        """One vector per text, [items, size].

        A filter reads every window of its width that lies within the text. A text shorter than the filter is one
        window: the text, filled up with zero vectors.

        Only the window of the greatest response has a slope. So all responses are computed without a graph, to find it,
        and that one again with derivatives of any order, which then cost next to nothing.

        inputs.tokens   [items, length] int64, rows of params["embedding.weight"]; padding at the end
        inputs.lengths  [items] int64, real tokens per text, 1 or more
        """
        table, widths = params["embedding.weight"], self.widths
        tokens = F.pad(inputs.tokens, (0, max(widths) - 1))
        real = torch.arange(tokens.shape[1], device=tokens.device) < inputs.lengths.unsqueeze(1)
        convs = [params[f"convs.{i}.weight"].permute(2, 0, 1) for i in range(len(widths))]  # [width, filters, dim] each
        filters = torch.cat([conv.flatten(0, 1) for conv in convs])
        with torch.no_grad():
            first = self._greatest(table, filters, tokens, real)  # [items, size]
        rows, inside = [], []
        for width, start in zip(widths, first.split(self.filters, 1), strict=True):
            step = torch.cat([start + j for j in range(width)], 1)  # [items, width * filters]
            rows.append(tokens.gather(1, step))
            inside.append(real.gather(1, step))
        z = lookup.products(table, filters, torch.cat(rows, 1).t().contiguous()) * torch.cat(inside, 1).t()
        sizes = [self.filters * width for width in widths]
        sums = [each.unflatten(0, (-1, self.filters)).sum(0) for each in z.split(sizes)]  # [filters, items] each
        bias = torch.cat([params[f"convs.{i}.bias"] for i in range(len(widths))])
        return dropped((torch.cat(sums).t() + bias).relu(), inputs.noise, 0)

    def _greatest(self, table: Tensor, filters: Tensor, tokens: Tensor, real: Tensor) -> Tensor:
        """Where in each text each filter responds most, the first word of that window, [items, size] int64.

        tokens, real  [items, length + widest - 1]
        """
        after = max(self.widths) - 1
        embedded = F.embedding(tokens, table) * real.unsqueeze(2)
        embedded = F.pad(embedded.flatten(0, 1), (0, 0, 0, after))
        count, start, responses = tokens.numel(), 0, []
        for width in self.widths:
            # A window is `width` rows of `embedded`, one below the other, so each row of a filter meets all windows in
            # one product. Those that reach into the next text are not asked for.
            mine = filters[start : start + width * self.filters].unflatten(0, (width, -1)).transpose(1, 2)
            response = torch.mm(embedded[:count], mine[0])
            for j in range(1, width):
                response = torch.addmm(response, embedded[j : j + count], mine[j])
            start += width * self.filters
            response = response.unflatten(0, real.shape)[:, : real.shape[1] - after]
            within = real[:, width - 1 : width - 1 + response.shape[1]].clone()
            within[:, 0] = True  # of a text shorter than the filter
            responses.append(response.masked_fill(~within.unsqueeze(2), -math.inf))
        return torch.cat(responses, 2).max(1).indices
