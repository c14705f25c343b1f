from dataclasses import replace

import numpy as np
import pytest
import torch
from proof import EPISODES, TASKS, Proof, params_of
from torch import nn
from torch.testing import assert_close
from toy import VOCABULARY, tiny_model

from metalingua.error import UserError
from metalingua.learner.distributional_signatures import DistributionalSignatures
from metalingua.problem.classification import Classification
from metalingua.problem.regression import Regression
from metalingua.task.episode import Episodes
from metalingua.task.tasks import frequency
from metalingua.training.engine import localise

HOW = {"epsilon": 0.03, "hidden": 3, "word_penalty": 0.5, "penalty": 0.1, "scale": 1.0}
LEARNER = DistributionalSignatures("distributional signatures", **HOW)
MODEL = tiny_model()
EPISODE = EPISODES[2]  # three ways, texts of 4 to 8 words
PARAMS = localise(MODEL, params_of(MODEL, LEARNER), EPISODE)


class TestDistributionalSignatures(Proof):
    learner = LEARNER


def answers(support=EPISODE.support, inputs=EPISODE.query.inputs, params=PARAMS, learner=LEARNER):
    return learner.adapt(MODEL, params, support).outputs(inputs)


def by_the_paper():
    """The answers, text by text and word by word, with torch.nn.LSTM."""
    own = {name.removeprefix("learner.distributional_signatures."): value for name, value in PARAMS.items()}
    lstm = nn.LSTM(2, 3, bidirectional=True).double()
    for way, suffix in (("forward", ""), ("backward", "_reverse")):
        for part, value in (("weight_ih", own[f"{way}.weight_ih"]), ("weight_hh", own[f"{way}.weight_hh"]),
                            ("bias_ih", own[f"{way}.bias"]), ("bias_hh", torch.zeros(12))):  # fmt: skip
            getattr(lstm, f"{part}_l0{suffix}").data = value.detach().double()
    words, support, query = PARAMS[MODEL.rows], EPISODE.support, EPISODE.query
    codes = np.eye(3)[support.targets]

    def texts(inputs):
        return [ids[:length] for ids, length in zip(inputs.tokens, inputs.lengths, strict=True)]

    def ridge(x, penalty):
        x = np.stack([each.numpy() for each in x])
        return torch.from_numpy(np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ codes))

    classifier = ridge([words[ids].mean(0) for ids in texts(support.inputs)], 0.5)

    def feature(ids):
        s = [0.03 / (0.03 + float(support.inputs.frequency[i])) for i in ids]
        t = [float((words[i] @ classifier).abs().max()) for i in ids]
        states, _ = lstm(torch.tensor([s, t]).double().t())
        weight = (states @ own["attention"]).exp()
        return (weight / weight.sum()) @ words[ids]

    with torch.no_grad():
        head = ridge([feature(ids) for ids in texts(support.inputs)], own["log_penalty"].exp().item())
        features = torch.stack([feature(ids) for ids in texts(query.inputs)])
        return own["log_scale"].exp() * features @ head + own["bias"]


def test_the_answers_are_the_papers_word_by_word():
    assert_close(answers(), by_the_paper(), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(answers(learner=DistributionalSignatures("", **{**HOW, "epsilon": 0.3})), by_the_paper())


def test_padding_changes_nothing():
    def padded(inputs):
        return replace(inputs, tokens=nn.functional.pad(inputs.tokens, (0, 4)))

    support = replace(EPISODE.support, inputs=padded(EPISODE.support.inputs))
    assert_close(answers(support, padded(EPISODE.query.inputs)), answers(), rtol=1e-12, atol=1e-12)
    longer = replace(support, inputs=replace(support.inputs, lengths=support.inputs.lengths + 1))
    assert not torch.allclose(answers(longer), answers(), rtol=1e-3)


@pytest.mark.parametrize("statistic", ["frequency", "support"])
def test_both_signatures_count(statistic):
    support, inputs = EPISODE.support, EPISODE.query.inputs
    if statistic == "frequency":
        flat = torch.full_like(inputs.frequency, 0.01)
        support = replace(support, inputs=replace(support.inputs, frequency=flat))
        inputs = replace(inputs, frequency=flat)
        assert not torch.allclose(answers(support, inputs), answers(), rtol=1e-3)
    else:
        deaf = DistributionalSignatures("", **{**HOW, "word_penalty": 1e9})  # t is 0 everywhere
        assert not torch.allclose(answers(learner=deaf), answers(), rtol=1e-3)


def test_the_encoder_above_the_embeddings_is_ignored():
    without = {name: value for name, value in PARAMS.items() if name == MODEL.rows or name.startswith("learner.")}
    assert torch.equal(answers(params=without), answers())
    assert not torch.allclose(answers(params={**PARAMS, MODEL.rows: PARAMS[MODEL.rows].roll(1, 0)}), answers())


def test_episodes_without_counts_are_named():
    how = {"seed": 0, "shots": 3, "queries": 4, "label_order": "fixed"}
    silent = Episodes("meta_train", TASKS[:1], **how)[0]
    with pytest.raises(UserError, match=r"hold no frequency: draw episodes with Tasks\.episodes"):
        LEARNER.adapt(MODEL, localise(MODEL, params_of(MODEL, LEARNER), silent), silent.support)
    counted = Episodes("meta_train", TASKS[:1], **how, frequency=frequency(TASKS, VOCABULARY))[0]
    LEARNER.adapt(MODEL, localise(MODEL, params_of(MODEL, LEARNER), counted), counted.support)


def test_ratings_and_settings_that_cannot_work_are_refused():
    assert "a number has no classes" in LEARNER.refuses(Regression(-4, 4))
    assert LEARNER.refuses(Classification(2)) is None
    for key in HOW:
        with pytest.raises(ValueError, match=rf"learner\.{key} is 0: it must be"):
            DistributionalSignatures("", **{**HOW, key: 0})
