from dataclasses import replace

import pytest
import torch
from proof import COUNTEREXAMPLE, EPISODES, Proof
from torch.testing import assert_close
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from metalingua.learner.rules import Rules, compound
from metalingua.text.batch import Inputs

TEXTS = ("VADER is smart, handsome, and funny.", "The book was only kind of good.", "Today SUX!", "It is a table.",
         "Not bad at all.")  # fmt: skip
INPUTS = Inputs(torch.zeros(5, 1), torch.ones(5), TEXTS)


def outputs(index):
    return Rules("").adapt(None, {}, EPISODES[index].support).outputs(INPUTS)


def test_the_scores_are_those_its_authors_print():
    # the examples of vaderSentiment's README
    assert [compound(text) for text in TEXTS[:3]] == [0.8316, 0.3832, -0.5461]
    assert compound("It is a table.") == 0 and compound("Not bad at all.") > 0 > compound("Bad.")
    assert compound(TEXTS[0]) == SentimentIntensityAnalyzer().polarity_scores(TEXTS[0])["compound"]


def test_classes_stand_at_equal_distances_from_negative_to_positive():
    assert outputs(0).argmax(-1).tolist() == [1, 1, 0, 0, 1]
    assert outputs(2).argmax(-1).tolist() == [2, 1, 0, 1, 1]  # of three: the neutral one between -0.5 and 0.5
    assert_close(outputs(2)[2], -torch.tensor([(1 - 0.5461) ** 2, 0.5461**2, 1.5461**2]))


def test_a_rating_is_the_score_itself():
    problem = EPISODES[3].support.problem
    assert_close(outputs(3).squeeze(1)[:3], torch.tensor([0.8316, 0.3832, -0.5461]))
    assert problem.predictions(outputs(3))[0] == pytest.approx(4 * 0.8316, abs=1e-5)  # a scale of -4 to 4


def test_the_support_set_changes_no_answer():
    support = EPISODES[2].support
    other = replace(support, targets=support.targets.flip(0))
    assert torch.equal(Rules("").adapt(None, {}, other).outputs(INPUTS), outputs(2))
    assert not torch.equal(outputs(2), Rules("").adapt(None, {}, EPISODES[2].support).outputs(
        replace(INPUTS, texts=TEXTS[::-1])))  # fmt: skip


class TestRules(Proof):
    learner = Rules("rules (VADER)")
    lacks = {"renaming": COUNTEREXAMPLE, "overfits": "it fits nothing, and it knows the words of these texts"}
