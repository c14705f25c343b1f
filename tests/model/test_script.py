import warnings

import pytest
import torch
from torch import Tensor

from metalingua.model.script import scripted


def halved(z: Tensor, times: int) -> Tensor:
    for _ in range(times):
        z = z / 2
    return z


def test_a_loop_is_compiled_and_says_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled = scripted(halved)
    assert isinstance(compiled, torch.jit.ScriptFunction)
    assert compiled(torch.ones(2), 3).tolist() == halved(torch.ones(2), 3).tolist() == [0.125, 0.125]


@pytest.mark.parametrize("error", [RuntimeError, NotImplementedError, AttributeError])
def test_without_torchscript_the_function_runs_as_it_is(monkeypatch, error):
    def gone(function):
        raise error("no such thing")

    monkeypatch.setattr(torch.jit, "script", gone)
    assert scripted(halved) is halved
