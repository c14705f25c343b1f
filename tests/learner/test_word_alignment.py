"""Translation by a table of words: a round by hand, and a language that is translated word by word."""

import numpy as np
import pytest
import torch
from proof import Proof
from table import COLUMNS

from metalingua.learner.word_alignment import NO_PARTS, WordAlignment
from metalingua.problem.classification import Classification
from metalingua.problem.problem import Asked
from metalingua.problem.translation import Translation
from metalingua.task.episode import Examples
from metalingua.text.batch import Inputs

END, TAG, FIRST, WORDS = 2, 3, 4, 8  # words of one language are FIRST .. FIRST + WORDS, of the other those behind them
SIZE = FIRST + 2 * WORDS
PROBLEM = Translation(SIZE, end=END, words=(FIRST, SIZE), beam=2, longest=8, text=lambda ids: " ".join(map(str, ids)))


def half(pairs):
    """Of pairs of lists of ids."""
    rows = [[*source, TAG, *target] for source, target in pairs]
    tokens = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for row, ids in zip(tokens, rows, strict=True):
        row[: len(ids)] = ids
    second = [len(source) for source, _ in pairs]
    at = [[i, second[i] + k] for i, (_, target) in enumerate(pairs) for k in range(len(target) + 1)]
    targets = torch.tensor([each for _, target in pairs for each in [*target, END]])
    lengths = torch.tensor([len(row) for row in rows])
    inputs = Inputs(
        torch.from_numpy(tokens), lengths, ("",) * len(rows), at=torch.tensor(at), second=torch.tensor(second)
    )
    gold = tuple(" ".join(map(str, target)) for _, target in pairs)
    return Examples(PROBLEM, inputs, targets, targets.numpy(), gold=gold)


def sentences(number, seed, table=lambda word: word + WORDS):
    dice = np.random.default_rng(seed)
    found = [(dice.choice(WORDS, dice.integers(2, 6), replace=False) + FIRST).tolist() for _ in range(number)]
    return [(source, [table(word) for word in source]) for source in found]


class TestWordAlignment(Proof):
    learner = WordAlignment("word alignment", rounds=5, tension=4, smoothing=0.01)
    lacks = dict.fromkeys(COLUMNS, "it translates, and the tasks of these proofs have classes")


def test_a_round_by_hand():
    learner = WordAlignment("", rounds=1, tension=0, smoothing=1e-12)
    a, b, x, y = FIRST, FIRST + 1, FIRST + WORDS, FIRST + WORDS + 1
    support = half([([a], [x]), ([a, b], [x, y])])
    # Sources are a, b and the tag, which all of them share alike: of a, x has 1/2 + 1/3, y 1/3, the end 1/2 + 1/3
    found = learner.adapt(None, {}, support).outputs(half([([a], [])]).inputs)[0].exp()
    of_a = {x: 5 / 12, y: 2 / 12, END: 5 / 12}  # 5/6, 2/6 and 5/6 of 2
    assert [float(found[each]) for each in of_a] == pytest.approx([float(v) for v in of_a.values()], abs=1e-5)
    assert float(found.sum()) == pytest.approx(1)


def test_new_sentences_are_translated_word_by_word():
    query, support = half(sentences(20, 1)), half(sentences(60, 0))

    def right(outputs):
        return float((outputs.argmax(1) == query.targets).float().mean())

    predictor, blind = (
        WordAlignment("", rounds=10, tension=tension, smoothing=0.01).adapt(None, {}, support) for tension in (8.0, 0.0)
    )
    outputs = predictor.outputs(query.inputs)
    # without the diagonal nothing says which word comes first
    assert right(outputs) > 0.9 > 0.6 > right(blind.outputs(query.inputs))
    found = PROBLEM.statistics(outputs, query.targets, Asked(query.inputs, query.gold, predictor.outputs))
    correct, total = found["bleu"][0], found["bleu"][4]
    assert correct / total > 0.8


def test_a_problem_of_whole_texts_is_refused():
    learner = WordAlignment("", rounds=1, tension=0, smoothing=0.01)
    assert learner.refuses(Classification(2)) == NO_PARTS and learner.refuses(PROBLEM) is None
