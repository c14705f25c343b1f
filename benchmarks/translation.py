"""The torch modules' parameters under metalingua's names, so that everybody starts from the same weights."""

from collections.abc import Mapping

from torch import Tensor

from metalingua.model.model import Params
from metalingua.problem.classification import Classification

LSTM = {"lstm.weight_ih_l0": "lstm.weight_ih", "lstm.weight_hh_l0": "lstm.weight_hh", "lstm.bias_ih_l0": "lstm.bias"}


def translated(named: Mapping[str, Tensor], ways: int) -> Params:
    """Copies of `named`, the parameters of a `network.py` module. `nn.LSTM` has two biases of which only the sum ever
    counts, metalingua has the sum: the same function, though in `nn.LSTM` a step moves it twice as far."""
    found = {}
    for name, value in named.items():
        value = value.detach().clone()
        if name == "lstm.bias_hh_l0":
            continue
        if name == "lstm.bias_ih_l0":
            value += named["lstm.bias_hh_l0"].detach()
        head = f"head.{Classification(ways).name}."
        found[name.replace("head.", head) if name.startswith("head.") else f"encoder.{LSTM.get(name, name)}"] = value
    return found
