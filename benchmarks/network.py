"""The networks as torch modules, for the libraries that take modules, and the token ids that everybody is given.

Parameters are named as the encoders of `metalingua.model` name theirs, wherever torch leaves the choice.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.workload import Workload


class Network(nn.Module):
    """Token ids [items, length] -> `features` [items, size] -> logits [items, ways]."""

    head: nn.Linear

    def features(self, tokens: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.features(tokens))


class Lstm(Network):
    """Stock `nn.LSTM`, with its two biases; the mean of its states."""

    def __init__(self, w: Workload):
        super().__init__()
        self.embedding = nn.Embedding(w.vocabulary, w.size)
        self.lstm = nn.LSTM(w.size, w.size, batch_first=True)
        self.head = nn.Linear(w.size, w.ways)

    def features(self, tokens: Tensor) -> Tensor:
        return self.lstm(self.embedding(tokens))[0].mean(1)


class Transformer(Network):
    """Learned positions, stock `nn.TransformerEncoderLayer`s without dropout, the mean over tokens."""

    def __init__(self, w: Workload):
        super().__init__()
        self.embedding = nn.Embedding(w.vocabulary, w.size)
        self.positions = nn.Embedding(w.length, w.size)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(w.size, w.heads, w.feedforward, dropout=0.0, batch_first=True)
            for _ in range(w.layers)
        )
        self.head = nn.Linear(w.size, w.ways)

    def features(self, tokens: Tensor) -> Tensor:
        states = self.embedding(tokens) + self.positions.weight[: tokens.shape[1]]
        for layer in self.layers:
            states = layer(states)
        return states.mean(1)


class Cnn(Network):
    """Kim (2014): filters of several widths, the largest answer of each."""

    def __init__(self, w: Workload):
        super().__init__()
        self.embedding = nn.Embedding(w.vocabulary, w.size)
        self.convs = nn.ModuleList(nn.Conv1d(w.size, w.filters, width) for width in w.widths)
        self.head = nn.Linear(len(w.widths) * w.filters, w.ways)

    def features(self, tokens: Tensor) -> Tensor:
        embedded = self.embedding(tokens).transpose(1, 2)
        return torch.cat([torch.relu(each(embedded)).amax(2) for each in self.convs], 1)


NETWORKS = {"lstm": Lstm, "transformer": Transformer, "cnn": Cnn}


def network(w: Workload) -> Network:
    """With the same random weights every time."""
    torch.manual_seed(0)
    return NETWORKS[w.network](w)


@dataclass(frozen=True)
class Task:
    """One task's token ids, [items, length], and classes, [items]."""

    support: Tensor
    support_classes: Tensor
    query: Tensor
    query_classes: Tensor

    def to(self, device: str) -> "Task":
        return Task(*(each.to(device) for each in vars(self).values()))


def batches(w: Workload, count: int) -> Iterator[list[Task]]:
    """`count` meta-batches. Token ids are drawn with frequencies that fall as words' do: a few occur over and over."""
    dice = torch.Generator().manual_seed(1)

    def texts(items: int) -> Tensor:
        uniform = torch.rand(items, w.length, generator=dice)
        return (w.vocabulary**uniform).long().clamp_(1, w.vocabulary - 1)  # 0 is padding, of which there is none

    def classes(each: int) -> Tensor:
        return torch.arange(w.ways).repeat_interleave(each)

    for _ in range(count):
        yield [
            Task(texts(w.ways * w.shots), classes(w.shots), texts(w.ways * w.queries), classes(w.queries))
            for _ in range(w.tasks)
        ]
