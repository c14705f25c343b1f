"""Translation: its loss and scores; BLEU and chrF of counts that are summed are sacreBLEU's of the whole."""

import math

import numpy as np
import pytest
import torch
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from metalingua.problem.problem import Asked
from metalingua.problem.translation import Translation
from metalingua.result.metric import METRICS
from metalingua.text.batch import Inputs

WORDS = ["", "", "", "the", "cat", "sat", "on", "a", "mat", "dog", "ran", "."]
END = 2
PROBLEM = Translation(len(WORDS), end=END, words=(3, len(WORDS)), beam=2, longest=12,
                      text=lambda ids: " ".join(WORDS[i] for i in ids))  # fmt: skip


def episode(said, wanted, problem=PROBLEM):
    """Statistics where the translations are those of `said`, token by token, and the right ones those of `wanted`."""
    ids = [[WORDS.index(word) for word in text.split()] for text in said]
    rows = torch.tensor([[3 + i, 1] for i in range(len(ids))])  # the text, then its tag
    inputs = Inputs(rows, torch.full((len(ids),), 2), tuple(said), at=torch.tensor([[0, 1]]), second=torch.ones(len(ids)).long())  # fmt: skip # noqa: E501

    def answers(asked):
        outputs = torch.zeros(len(asked.at), len(WORDS))
        for row, (text, place) in zip(outputs, asked.at.tolist(), strict=True):
            following = [*ids[int(asked.tokens[text, 0]) - 3], END]
            row[following[min(place, len(following)) - 1]] = 50.0
        return outputs

    return problem.statistics(torch.zeros(1, len(WORDS)), torch.tensor([4]), Asked(inputs, tuple(wanted), answers))


SAID = [["the cat sat on the mat .", "a dog ran ."], ["the dog sat on a mat", "cat", "the cat ran ."]]
WANTED = [["The cat sat on the mat.", "a dog ran ."], ["the dog sat on the mat .", "the dog", "the cat ran ."]]


@pytest.mark.parametrize(("name", "whole"), [("bleu", BLEU(tokenize="13a")), ("chrf", CHRF())])
def test_scores_of_episodes_together_are_sacrebleus_of_all_their_texts(name, whole):
    found = [episode(said, wanted)[name] for said, wanted in zip(SAID, WANTED, strict=True)]
    expected = whole.corpus_score(sum(SAID, []), [sum(WANTED, [])]).score / 100
    assert METRICS[name].per_episode(found).mean() == pytest.approx(expected, abs=1e-12)
    each = [whole.corpus_score(s, [w]).score / 100 for s, w in zip(SAID, WANTED, strict=True)]
    assert np.mean(each) != pytest.approx(expected, abs=1e-3)  # no mean of episodes would do


@pytest.mark.parametrize("said", [
    ["the"], ["mat on"], ["dog dog dog dog dog"], ["the cat sat on a mat . the cat sat"], ["the cat sat on the"], [""],
    ["the cat", "a dog", "ran"],
])  # fmt: skip
def test_golden_scores_where_orders_are_missing(said):
    wanted = ["the cat sat on the mat"] * len(said)
    found = episode(said, wanted)
    for name, whole in (("bleu", BLEU()), ("chrf", CHRF())):
        expected = whole.corpus_score(said, [wanted]).score / 100
        assert METRICS[name].per_episode([found[name]])[0] == pytest.approx(expected, abs=1e-12), name


def test_bleu_by_hand():
    counts = np.array([3, 2, 1, 0, 4, 3, 2, 1, 4, 5.0])  # the last order: half of one
    assert METRICS["bleu"].pooled(counts) == pytest.approx(math.exp(1 - 5 / 4) * (3 / 4 * 2 / 3 * 1 / 2 * 0.5) ** 0.25)


def test_japanese_and_chinese_are_cut_as_no_spaces_ask_for():
    class Asian(Translation):
        def translations(self, asked):
            return ["我有一只狗", "犬がいる"]

    for language, tokenize in (("zho_Hans", "zh"), ("ja", "char"), ("de", "13a")):
        problem = Asian(len(WORDS), language=language)
        gold = ("我有一只猫", "猫がいる")
        found = problem.statistics(torch.zeros(1, 12), torch.tensor([4]), Asked(None, gold, answers=len))
        expected = BLEU(tokenize=tokenize).corpus_score(problem.translations(None), [list(gold)]).score / 100
        assert METRICS["bleu"].per_episode([found["bleu"]])[0] == pytest.approx(expected, abs=1e-12)


def test_without_an_answerer_there_is_the_loss_a_token_in_nats():
    outputs = torch.tensor([[0.0, math.log(3.0)], [math.log(9.0), 0.0]])
    found = Translation(2).statistics(outputs, torch.tensor([1, 1]))
    loss = -(math.log(3 / 4) + math.log(1 / 10)) / 2
    assert found == pytest.approx(
        {"loss": loss, "score": -loss, "perplexity": math.exp(loss), "accuracy": 0.5, "next_token": 0.5}
    )
