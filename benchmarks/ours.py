"""metalingua through its public classes: Engine, Model, a learner, Episodes. No special path."""

from collections.abc import Sequence

import torch

from benchmarks.network import Network, Task
from benchmarks.translation import translated
from benchmarks.workload import Workload
from metalingua.learner.anil import Anil
from metalingua.learner.learner import Learner
from metalingua.learner.maml import Maml
from metalingua.learner.reptile import Reptile
from metalingua.model.cnn import CnnEncoder
from metalingua.model.lstm import LstmEncoder
from metalingua.model.model import Encoder, Model
from metalingua.model.transformer import TransformerEncoder
from metalingua.problem.classification import Classification
from metalingua.task.episode import Episode, Examples
from metalingua.text.batch import Inputs
from metalingua.training.engine import Engine


class Ours:
    """What `training/module.py` does in a step, without Lightning: the engine's loss, its backward, the outer Adam."""

    def __init__(self, w: Workload, network: Network, threads: int):
        self.model, self.learner, self.engine = model(w), learner(w), Engine(threads)
        start = translated(dict(network.named_parameters()), w.ways)
        self.params = {name: value.to(w.device).requires_grad_() for name, value in start.items()}
        self.optimizer = torch.optim.Adam(self.params.values(), lr=w.lr, fused=True)

    def gradients(self, batch: Sequence[Episode]) -> None:
        self.optimizer.zero_grad()
        vmaps, learner = self.learner.vmaps and self.model.encoder.vmaps, self.learner
        self.engine.loss(self.model, self.params, batch, learner.episode_loss, learner.order, vmaps).backward()

    def step(self, batch: Sequence[Episode]) -> None:
        self.gradients(batch)
        self.optimizer.step()


def model(w: Workload) -> Model:
    return Model(encoder(w), {Classification(w.ways).name: w.ways})


def encoder(w: Workload) -> Encoder:
    if w.network == "lstm":
        return LstmEncoder(w.vocabulary, w.size, w.size, pooling="mean")
    if w.network == "transformer":
        return TransformerEncoder(w.vocabulary, w.size, w.layers, w.heads, w.feedforward, max_length=w.length)
    return CnnEncoder(w.vocabulary, w.size, w.filters, w.widths)


def learner(w: Workload) -> Learner:
    if w.method == "anil":
        return Anil("ANIL", w.steps, w.step_size)
    if w.method == "reptile":
        return Reptile("Reptile", w.steps, w.step_size, examples="support")
    return Maml("MAML", w.steps, w.step_size, order=1 if w.method == "fomaml" else 2)


def episode(task: Task, index: int, ways: int) -> Episode:
    """The same token ids as the data room hands them over: counted in the rows of the table that occur."""
    rows = torch.unique(torch.cat([torch.zeros(1, dtype=torch.long), task.support.flatten(), task.query.flatten()]))
    problem = Classification(ways)

    def examples(tokens: torch.Tensor, classes: torch.Tensor) -> Examples:
        lengths = torch.full((len(tokens),), tokens.shape[1])
        inputs = Inputs(torch.searchsorted(rows, tokens), lengths, ("",) * len(tokens))
        return Examples(problem, inputs, classes, classes.numpy())

    support, query = examples(task.support, task.support_classes), examples(task.query, task.query_classes)
    return Episode("meta_train", index, "benchmark", rows, support, query)
