import numpy as np
import torch

from metalingua.model import states
from metalingua.model.states import FrozenStates


def test_a_text_is_worked_out_once_and_the_oldest_is_forgotten(monkeypatch):
    monkeypatch.setattr(states, "BYTES", 6 * 2)  # six numbers of two bytes
    asked = []

    def worked_out(ids, second):
        asked.append((ids.tolist(), second))
        return torch.from_numpy(ids).float().unsqueeze(1)

    kept = FrozenStates(worked_out)
    one, two, three = np.array([1, 2, 3]), np.array([4, 5, 6]), np.array([7])
    assert kept.of(one).tolist() == [[1], [2], [3]] and kept.of(one).dtype == torch.float16
    kept.of(two), kept.of(one)
    assert len(asked) == 2
    kept.of(three)  # seven tokens: the second text, used longest ago, goes
    kept.of(one)
    assert len(asked) == 3
    kept.of(two)
    assert len(asked) == 4
    kept.of(one, 2)  # read otherwise, it is another text
    assert asked[-1] == ([1, 2, 3], 2)
