"""metalingua's meta-gradients are the peers', to 1e-6 in float64: what the benchmark times is the same mathematics."""

from dataclasses import replace

import pytest
import torch

from benchmarks.network import Lstm, batches, network
from benchmarks.ours import Ours, episode
from benchmarks.peers import PEERS, MethodAbsent
from benchmarks.stand_in import learn2learn
from benchmarks.translation import translated
from benchmarks.workload import WORKLOADS

SMALL = {"tasks": 3, "shots": 2, "queries": 3, "length": 7, "steps": 3, "step_size": 0.5, "vocabulary": 50, "size": 8,
         "heads": 2, "feedforward": 16, "filters": 5}  # fmt: skip


class OneBias(Lstm):
    """An LSTM whose bias is one more column of its input weights: an inner step moves it once, where it moves both of
    `nn.LSTM`'s and so their sum twice as far."""

    def __init__(self, w, start):
        super().__init__(w)
        self.load_state_dict(start.state_dict())
        stock = start.lstm
        self.lstm = torch.nn.LSTM(w.size + 1, w.size, batch_first=True, bias=False)
        column = (stock.bias_ih_l0 + stock.bias_hh_l0).unsqueeze(1)
        with torch.no_grad():
            self.lstm.weight_ih_l0.copy_(torch.cat([stock.weight_ih_l0, column], 1))
            self.lstm.weight_hh_l0.copy_(stock.weight_hh_l0)

    def features(self, tokens):
        embedded = self.embedding(tokens)
        return self.lstm(torch.cat([embedded, torch.ones_like(embedded[..., :1])], -1))[0].mean(1)

    def named(self, found):
        """`found`, gradients by this module's names, by those of a stock one."""
        column = found["lstm.weight_ih_l0"][:, -1]
        two = {"lstm.bias_ih_l0": column, "lstm.bias_hh_l0": torch.zeros_like(column)}
        return {**found, "lstm.weight_ih_l0": found["lstm.weight_ih_l0"][:, :-1], **two}


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def needs(library):
    reason = f"{library} is not installed: `make bench-test` has it in a virtual environment of its own"
    if library == "learn2learn":
        try:
            learn2learn()
        except ImportError:
            pytest.skip(reason)
    else:
        pytest.importorskip(library, reason=reason)


def of_ours(w):
    ours, batch = Ours(w, network(w), threads=1), next(batches(w, 1))
    ours.gradients([episode(task, i, w.ways) for i, task in enumerate(batch)])
    return {name: value.grad for name, value in ours.params.items()}


def of_peer(name, w):
    start = network(w)
    theirs = OneBias(w, start) if w.network == "lstm" else start
    PEERS[name](w, theirs).gradients(next(batches(w, 1)))
    found = {key: value.grad for key, value in theirs.named_parameters()}
    return translated(theirs.named(found) if w.network == "lstm" else found, w.ways)


def largest_error(ours, theirs):
    """Of any parameter's gradient, the norm of the difference over the norm."""
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).norm() / theirs[name].norm()) for name in theirs)


def pairs():
    for name, peer in PEERS.items():
        for key, w in WORKLOADS.items():
            if w.method in peer.methods:
                yield pytest.param(name, replace(w, **SMALL), id=f"{key}-{name}")


@pytest.mark.parametrize(("name", "w"), pairs())
def test_meta_gradients_are_the_peers(name, w):
    needs(name)
    theirs = of_peer(name, w)
    assert largest_error(of_ours(w), theirs) < 1e-6
    for other in (replace(w, step_size=0.4), replace(w, steps=2)):  # and only of the same inner loop
        assert largest_error(of_ours(other), theirs) > 1e-3


def test_first_and_second_order_are_told_apart():
    needs("learn2learn")
    first, second = (of_peer("learn2learn", replace(WORKLOADS[key], **SMALL)) for key in ("W2", "W1"))
    assert largest_error(first, second) > 1e-3
    assert largest_error(of_ours(replace(WORKLOADS["W2"], **SMALL)), second) > 1e-3


def test_stock_lstm_moves_its_bias_twice_as_far():
    """Why OneBias is there: the one thing in which W1 as timed and metalingua differ."""
    needs("learn2learn")
    w = replace(WORKLOADS["W1"], **SMALL)
    stock = network(w)
    PEERS["learn2learn"](w, stock).gradients(next(batches(w, 1)))
    found = {key: value.grad for key, value in stock.named_parameters()}
    found["lstm.bias_hh_l0"] = torch.zeros_like(found["lstm.bias_hh_l0"])
    assert 1e-3 < largest_error(of_ours(w), translated(found, w.ways)) < 1


def test_a_method_that_a_library_lacks_is_said():
    w = replace(WORKLOADS["W5"], **SMALL)
    with pytest.raises(MethodAbsent, match="TorchOpt has no reptile"):
        PEERS["torchopt"](w, network(w))
