"""learn2learn, higher and torchopt, each as its manual has it.

Each leaves the mean over tasks of the meta-gradient in `.grad` of the network's parameters.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from benchmarks.network import Network, Task
from benchmarks.stand_in import learn2learn
from benchmarks.workload import Workload


class MethodAbsent(Exception):
    """The library does not have the method."""


class Peer:
    """A network, how one library meta-learns it, and the outer Adam."""

    methods: tuple[str, ...] = ()

    def __init__(self, w: Workload, network: Network):
        if w.method not in self.methods:
            raise MethodAbsent(f"{type(self).__name__} has no {w.method}")
        self.w, self.network = w, network
        self.adapted = network.head if w.method == "anil" else network  # the module that the inner loop moves
        self.optimizer = torch.optim.Adam(network.parameters(), lr=w.lr, fused=True)
        self.prepare()

    def prepare(self) -> None:
        """What is done once."""

    def task(self, task: Task) -> None:
        """Add one task's part of the mean meta-gradient to `.grad`."""
        raise NotImplementedError

    def gradients(self, batch: Sequence[Task]) -> None:
        self.optimizer.zero_grad()
        with _second_derivatives(self.w):
            for each in batch:
                self.task(each)

    def step(self, batch: Sequence[Task]) -> None:
        self.gradients(batch)
        self.optimizer.step()

    def inputs(self, task: Task) -> tuple[Tensor, Tensor]:
        """What the adapted module sees of support and query: tokens, or, for ANIL, features that are computed once."""
        if self.w.method != "anil":
            return task.support, task.query
        features = self.network.features(torch.cat([task.support, task.query]))
        return features[: len(task.support)], features[len(task.support) :]

    def share(self, loss: Tensor) -> Tensor:
        return loss / self.w.tasks


def _second_derivatives(w: Workload) -> AbstractContextManager:
    """torch's fused attention has no second derivative on a CPU."""
    return sdpa_kernel(SDPBackend.MATH) if w.network == "transformer" else nullcontext()


class Learn2Learn(Peer):
    methods = ("maml", "fomaml", "anil", "reptile")

    def prepare(self) -> None:
        library = learn2learn()
        first_order = self.w.method == "fomaml"
        self.maml = library.algorithms.MAML(self.adapted, lr=self.w.step_size, first_order=first_order)
        self.utils = library.utils

    def task(self, task: Task) -> None:
        if self.w.method == "reptile":
            return self.reptile(task)
        support, query = self.inputs(task)
        learner = self.maml.clone()
        for _ in range(self.w.steps):
            learner.adapt(cross_entropy(learner(support), task.support_classes))
        self.share(cross_entropy(learner(query), task.query_classes)).backward()

    def reptile(self, task: Task) -> None:
        """As its examples/vision/meta-mini-imagenet/reptile.py: a detached clone, descended; the way it went."""
        clone = self.utils.clone_module(self.network)
        self.utils.detach_module(clone, keep_requires_grad=True)
        inner = torch.optim.SGD(clone.parameters(), lr=self.w.step_size)
        for _ in range(self.w.steps):
            inner.zero_grad()
            cross_entropy(clone(task.support), task.support_classes).backward()
            inner.step()
        for start, end in zip(self.network.parameters(), clone.parameters(), strict=True):
            way = self.share(start.data - end.data)
            start.grad = way if start.grad is None else start.grad.add_(way)


class Higher(Peer):
    methods = ("maml", "fomaml", "anil")

    def task(self, task: Task) -> None:
        import higher

        support, query = self.inputs(task)
        inner = torch.optim.SGD(self.adapted.parameters(), lr=self.w.step_size)
        exact = self.w.method != "fomaml"
        with higher.innerloop_ctx(self.adapted, inner, copy_initial_weights=False, track_higher_grads=exact) as (
            fast,
            moves,
        ):
            for _ in range(self.w.steps):
                moves.step(cross_entropy(fast(support), task.support_classes))
            loss = self.share(cross_entropy(fast(query), task.query_classes))
            if exact:
                return loss.backward()
            # untracked, the adapted weights are cut off from the initial ones: the gradient there is taken by hand
            slopes = torch.autograd.grad(loss, list(fast.parameters()))
            for parameter, slope in zip(self.adapted.parameters(), slopes, strict=True):
                parameter.grad = slope if parameter.grad is None else parameter.grad.add_(slope)


class TorchOpt(Peer):
    methods = ("maml", "anil")

    def prepare(self) -> None:
        import torchopt

        self.library: Any = torchopt
        self.inner = torchopt.MetaSGD(self.adapted, lr=self.w.step_size)

    def task(self, task: Task) -> None:
        of = self.library.extract_state_dict
        network, inner = of(self.adapted, by="reference", detach_buffers=True), of(self.inner, by="reference")
        support, query = self.inputs(task)
        for _ in range(self.w.steps):
            self.inner.step(cross_entropy(self.adapted(support), task.support_classes))
        self.share(cross_entropy(self.adapted(query), task.query_classes)).backward()
        self.library.recover_state_dict(self.adapted, network)
        self.library.recover_state_dict(self.inner, inner)


PEERS: dict[str, Callable[[Workload, Network], Peer]] = {
    "learn2learn": Learn2Learn,
    "higher": Higher,
    "torchopt": TorchOpt,
}
