"""`metalingua.load`: the estimator of a run, or of a file that one was saved to."""

import os
from pathlib import Path
from typing import Any

import torch

from metalingua.estimator.classifier import FewShotClassifier
from metalingua.estimator.few_shot import KINDS, FewShot
from metalingua.estimator.given import EstimatorError
from metalingua.estimator.learned import Learned, read_file, read_run
from metalingua.estimator.regressor import FewShotRegressor
from metalingua.estimator.tagger import FewShotTagger
from metalingua.model.model import Model
from metalingua.text.batch import pad

MAKERS: dict[str, Any] = {each.kind: each for each in (FewShotClassifier, FewShotRegressor, FewShotTagger)}


def load(path: str | os.PathLike[str], *, learner: str | None = None, kind: str | None = None) -> FewShot:
    """See `metalingua.load`."""
    path = Path(path)
    if kind not in (None, *KINDS):
        raise EstimatorError(f"kind is {kind!r}: it must be one of {', '.join(KINDS)}")
    if path.is_file():
        if learner or kind:
            raise EstimatorError(f"{path} is one saved estimator: learner and kind can be chosen of a run alone")
        return _saved(path)
    learned = _ready(read_run(path, learner))
    if kind not in (None, "tagging") and learned.heads and all(name.startswith("tagging") for name in learned.heads):
        raise EstimatorError(f"kind is {kind!r}, and this run tags words, and knows no other answer: leave it out")
    return MAKERS[kind or learned.kind](learned)


def _ready(learned: Learned) -> Learned:
    """Built and used once, which may take seconds (an LSTM's loops are compiled, a pretrained model is read), so that
    the first fit is as fast as all."""
    inputs = pad(learned.reader.encode(["once"], learned.max_length), ["once"])
    with torch.no_grad():
        Model(learned.encoder, {}).features(learned.params, inputs)
    return learned


def _saved(path: Path) -> FewShot:
    learned, about, adapted = read_file(path)
    _ready(learned)
    estimator = MAKERS[about["kind"]](learned, **about["params_of"])
    if facts := about.get("fitted"):
        estimator._recall(facts)
        estimator.adapted_, estimator._support, estimator._predictor = adapted, None, None
    return estimator
