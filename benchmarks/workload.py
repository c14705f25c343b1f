"""The workloads: few-shot text tasks of one shape, and how many multiplications they cannot do without. No torch here:
the process that only waits for the others reads this."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """One way to meta-learn on tasks of one shape: 2 ways, 5 shots, 15 queries a class, 64 tokens a text.

    method   "maml": second order; "fomaml": first order; "anil": only the head adapts; "reptile"
    network  "lstm", "transformer" or "cnn", as `network.py` builds them
    vocabulary, size   rows and columns of the embedding table; size is the LSTM's state and the Transformer's width too
    device, precision  where everybody computes, "cpu" or "cuda", and what torch.autocast makes of it: "float32" (it is
                       off) or "bfloat16"
    """

    name: str
    title: str
    method: str
    network: str
    tasks: int = 4  # a meta-step
    ways: int = 2
    shots: int = 5
    queries: int = 15
    length: int = 64
    steps: int = 5
    step_size: float = 0.1
    lr: float = 1e-3  # of the outer Adam
    vocabulary: int = 10_000
    size: int = 128
    layers: int = 2
    heads: int = 4
    feedforward: int = 512
    filters: int = 100
    widths: tuple[int, ...] = (3, 4, 5)  # tokens that a filter of the CNN spans
    device: str = "cpu"
    precision: str = "float32"

    def token_flops(self) -> float:
        """Multiplications and additions of one token's way through the network, matrix products only."""
        d = self.size
        if self.network == "lstm":
            return 2 * 4 * d * 2 * d  # four gates, each of the input and of the state before
        if self.network == "transformer":  # four projections, two layers of the MLP, scores and their sums
            return self.layers * 2 * (4 * d * d + 2 * d * self.feedforward + 2 * self.length * d)
        return 2 * self.filters * d * sum(self.widths)

    def task_flops(self) -> float:
        """What one task's share of the meta-gradient needs, in forward passes: a gradient is 3 of them, the derivative
        of a gradient step 6 more."""
        text = self.token_flops() * self.length * self.ways
        support, query = text * self.shots, text * self.queries
        return {
            "maml": self.steps * 9 * support + 3 * query,
            "fomaml": self.steps * 3 * support + 3 * query,
            "anil": 3 * (support + query),  # features once: the head's own steps are nothing beside them
            "reptile": self.steps * 3 * support,
        }[self.method]


WORKLOADS = {
    each.name: each
    for each in (
        Workload("W1", "second-order MAML, LSTM", "maml", "lstm"),
        Workload("W2", "first-order MAML, LSTM", "fomaml", "lstm"),
        Workload("W3", "ANIL, LSTM", "anil", "lstm"),
        Workload("W4", "second-order MAML, Transformer", "maml", "transformer"),
        Workload("W4c", "second-order MAML, CNN", "maml", "cnn"),
        Workload("W5", "Reptile, LSTM", "reptile", "lstm"),
    )
}

PRODUCT = 2048  # rows and columns of the matrices whose product says how fast the machine is just now
PRODUCT_FLOPS = 2.0 * PRODUCT**3
