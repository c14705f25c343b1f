"""Beam search against all sequences there are, of a language whose next token hangs on the text and on all before."""

from itertools import product

import pytest
import torch

from metalingua.problem.beam import beam_search
from metalingua.text.batch import Inputs

TOKENS, END, BEGIN, LONGEST = 5, 1, 9, 4
ALLOWED = torch.tensor([False, True, True, True, True])


def logits(said, text):
    """Of the token after `said`, a list that begins with BEGIN, in the translation of `text`."""
    dice = torch.Generator().manual_seed(hash((tuple(said), tuple(text))) % 2**31)
    return 2 * torch.randn(TOKENS, generator=dice)


def answers(inputs):
    rows = []
    for text, place in inputs.at.tolist():
        tokens, second = inputs.tokens[text].tolist(), int(inputs.second[text])
        assert tokens[second] == BEGIN and place == int(inputs.lengths[text]) - 1
        rows.append(logits(tokens[second : place + 1], tokens[:second]))
    return torch.stack(rows)


def best(text):
    """The sequence with the highest mean log probability, of all that end within LONGEST tokens."""
    found = []
    for length in range(LONGEST):
        for said in product([2, 3, 4], repeat=length):
            tokens, score = [BEGIN, *said, END], 0.0
            for at in range(1, len(tokens)):
                score += float(logits(tokens[:at], text).log_softmax(0)[tokens[at]])
            found.append((score / (length + 1), list(said)))
    return max(found)


def greedy(text):
    said = []
    while len(said) < LONGEST - 1:
        scores = logits([BEGIN, *said], text).masked_fill(~ALLOWED, -torch.inf)
        if int(scores.argmax()) == END:
            break
        said.append(int(scores.argmax()))
    return said


def given(texts):
    length = max(map(len, texts)) + 3
    rows = [[*text, BEGIN, 3, *[0] * (length - len(text) - 2)] for text in texts]  # 3: what was said, not to be read
    second = torch.tensor([len(text) for text in texts])
    return Inputs(torch.tensor(rows), second + 2, tuple(map(str, texts)), at=torch.zeros(1, 2).long(), second=second)


TEXTS = [[2], [3, 4, 2], [4, 4], [2, 2, 2, 3], [3], [4, 2]]


def test_a_wide_beam_finds_the_best_of_all_sequences():
    found = beam_search(answers, given(TEXTS), beam=200, longest=LONGEST, end=END, allowed=ALLOWED)
    assert found == [best(text)[1] for text in TEXTS]
    assert found != [greedy(text) for text in TEXTS]  # so it is the search that finds them


def test_a_beam_of_one_takes_the_likeliest_token_each_time():
    found = beam_search(answers, given(TEXTS), beam=1, longest=LONGEST, end=END, allowed=ALLOWED)
    assert found == [greedy(text) for text in TEXTS]


@pytest.mark.parametrize("beam", [1, 2, 3])
def test_texts_do_not_see_each_other(beam):
    how = {"beam": beam, "longest": LONGEST, "end": END, "allowed": ALLOWED}
    together = beam_search(answers, given(TEXTS), **how)
    assert together == [beam_search(answers, given([text]), **how)[0] for text in TEXTS]
    assert all(len(said) < LONGEST and set(said) <= {2, 3, 4} for said in together)
