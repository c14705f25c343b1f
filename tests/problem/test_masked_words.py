import math

import pytest
import torch

from metalingua.problem.masked_words import MaskedWords


def test_the_loss_is_cross_entropy_over_the_vocabulary_and_the_perplexity_its_exponential():
    problem = MaskedWords(4)
    outputs = torch.tensor([[0.5, 0.25, 0.125, 0.125], [0.25, 0.25, 0.25, 0.25]]).log()
    found = problem.statistics(outputs, torch.tensor([0, 3]))
    assert found["loss"] == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert found["perplexity"] == pytest.approx(math.sqrt(8)) and found["score"] == -found["loss"]
    assert found["accuracy"] == 0.5  # the first of equals for the second item, which is wrong


def test_it_is_a_problem_of_its_own_with_a_tied_head():
    assert MaskedWords(4).name == "masked_words" and MaskedWords(4).outputs == 4 and MaskedWords(4).tied
