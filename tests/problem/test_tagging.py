"""Entities are seqeval's, and the answers are the best that BIO allows."""

import itertools
import random

import numpy as np
import pytest
import torch
from seqeval.metrics import f1_score
from seqeval.metrics.sequence_labeling import get_entities
from torch.testing import assert_close

from metalingua.problem.problem import Asked
from metalingua.problem.tagging import Tagging, entities, fault, repaired
from metalingua.result.metric import METRICS
from metalingua.text.batch import Inputs

PROBLEM = Tagging(("PER", "LOC"))
OUT, B_PER, I_PER, B_LOC, I_LOC = range(5)


def sure(tags):
    """Outputs [words, tags] that leave no doubt."""
    return 20.0 * torch.nn.functional.one_hot(torch.tensor(tags), 5).float()


def asked(lengths, gold=None):
    at = torch.tensor([[text, place] for text, length in enumerate(lengths) for place in range(length)])
    texts = tuple(" ".join(["word"] * length) for length in lengths)
    return Asked(Inputs(torch.ones(len(lengths), max(lengths)).long(), torch.tensor(lengths), texts, at=at), gold)


def sequences(seed, count, longest=8, legal=False):
    dice = random.Random(seed)
    made = [[dice.choice(PROBLEM.tags) for _ in range(dice.randint(1, longest))] for _ in range(count)]
    return [repaired(tags) for tags in made] if legal else made


def test_entities_are_seqevals_on_any_sequence():
    for tags in sequences(0, 2000):
        found = {(PROBLEM.types[kind], first, end - 1) for kind, first, end in entities(PROBLEM.labels(tags))}
        assert found == set(get_entities(tags)), tags


@pytest.mark.parametrize(
    "tags",
    [
        ["I-PER"], ["B-PER", "I-LOC"], ["I-PER", "B-PER"], ["B-PER", "B-PER"], ["B-PER", "O", "I-PER"],
        ["I-LOC", "I-PER", "I-PER"], ["O"],
    ],
)  # fmt: skip
def test_entities_are_seqevals_where_it_is_hard(tags):
    found = [(PROBLEM.types[kind], first, end - 1) for kind, first, end in entities(PROBLEM.labels(tags))]
    assert found == get_entities(tags)


def test_f1_of_stored_counts_is_seqevals():
    counts, ours, theirs = [], [], []
    for seed in range(5):
        gold = sequences(seed, 30, legal=True)
        answers = sequences(100 + seed, 30, legal=True)
        answers = [(each + ["O"] * len(tags))[: len(tags)] for each, tags in zip(answers, gold, strict=True)]
        answers[:15] = gold[:15]
        outputs = sure(np.concatenate([PROBLEM.labels(each) for each in answers]).tolist())
        targets = PROBLEM.targets(np.concatenate([PROBLEM.labels(each) for each in gold]))
        found = PROBLEM.statistics(outputs, targets, asked([len(each) for each in gold]))
        assert found["score"] == pytest.approx(f1_score(gold, answers))
        counts.append(found["entity_f1"])
        ours, theirs = ours + answers, theirs + gold
    assert METRICS["entity_f1"].per_episode(counts).mean() == pytest.approx(f1_score(theirs, ours))


def test_counts_by_hand():
    """Of three entities one is found, one is cut short, one is missed; and one is found where none is."""
    gold = [B_PER, I_PER, OUT, B_LOC, I_LOC, B_PER, OUT]
    answer = [B_PER, I_PER, OUT, B_LOC, OUT, OUT, B_LOC]
    assert PROBLEM.statistics(sure(answer), torch.tensor(gold), asked([7]))["entity_f1"] == [1, 3, 3]


def test_an_entity_ends_with_its_sentence():
    gold, outputs = torch.tensor([B_PER, B_PER]), sure([B_PER, I_PER])
    outputs[1, B_PER] = 10  # next best
    assert PROBLEM.statistics(outputs, gold, asked([1, 1]))["entity_f1"] == [2, 2, 2]
    assert PROBLEM.statistics(outputs, gold, asked([2]))["entity_f1"] == [0, 1, 2]


def test_entities_that_were_not_read_are_missed():
    cut = PROBLEM.statistics(sure([B_PER]), torch.tensor([B_PER]), asked([1], gold=((B_PER, OUT, B_LOC),)))
    assert cut["entity_f1"] == [1, 1, 2]
    ends_early = PROBLEM.statistics(sure([B_PER]), torch.tensor([B_PER]), asked([1], gold=((B_PER, I_PER),)))
    assert ends_early["entity_f1"] == [0, 1, 1]


def test_the_answer_is_the_best_legal_sequence():
    dice = random.Random(0)
    for seed in range(40):
        lengths = [dice.randint(1, 4) for _ in range(3)]
        outputs = torch.randn(sum(lengths), 5, generator=torch.Generator().manual_seed(seed))
        logs = outputs.double().log_softmax(1).numpy()
        found = PROBLEM.predictions(outputs, np.repeat([0, 2, 5], lengths)).tolist()
        for first, length in zip(np.cumsum([0, *lengths]), lengths, strict=False):
            legal = (each for each in itertools.product(range(5), repeat=length)
                     if fault([PROBLEM.tags[tag] for tag in each]) is None)  # fmt: skip
            best = max(legal, key=lambda each: sum(logs[first + i, tag] for i, tag in enumerate(each)))
            assert tuple(found[first : first + length]) == best


def test_a_tag_that_no_word_has_is_stood_in_for_by_the_other_of_its_type():
    codes = PROBLEM.codes(torch.tensor([OUT, B_PER, B_LOC, I_LOC]))
    assert codes[:, I_PER].tolist() == codes[:, B_PER].tolist() == [0, 1, 0, 0]
    assert codes[:, [OUT, B_LOC, I_LOC]].tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_majority_is_outside():
    outputs = PROBLEM.constant(torch.tensor([OUT, OUT, OUT, B_PER, I_PER])).expand(4, -1)
    assert PROBLEM.predictions(outputs).tolist() == [OUT] * 4
    found = PROBLEM.statistics(outputs, torch.tensor([OUT, OUT, B_PER, OUT]), asked([4]))
    assert found["score"] == 0 and found["accuracy"] == 0.75 and found["entity_f1"] == [0, 0, 1]


def test_loss_by_hand():
    assert_close(PROBLEM.loss(torch.zeros(3, 5), torch.tensor([0, 1, 2])), torch.tensor(5.0).log())


def test_faults_are_named():
    assert fault(["O", "B-PER", "I-PER"]) is None
    assert fault(["O", "I-PER"]) == (1, "I-PER follows O: I-PER goes on with B-PER or I-PER")
    assert fault(["I-PER"])[1].startswith("I-PER follows nothing")
    assert fault(["B-PER", "I-LOC"])[0] == 1
    for strange in ("X-PER", "B-", "B", "PER", ""):
        assert "it can be O, B-TYPE or I-TYPE" in fault([strange])[1]
    assert fault(["B-ORG"], ["PER"]) == (0, "entity type is 'ORG'; it can be PER")
    assert repaired(["I-PER", "I-PER", "O", "I-LOC", "I-PER"]) == ["B-PER", "I-PER", "O", "B-LOC", "B-PER"]


def test_targets_out_of_range_are_refused():
    with pytest.raises(ValueError, match="there are 5 tags"):
        PROBLEM.targets(np.array([0, 5]))


def test_equal_types_share_a_head_and_others_do_not():
    assert Tagging(("PER", "LOC")).name == PROBLEM.name != Tagging(("PER", "ORG")).name
    assert "." not in Tagging(("a.b",)).name  # parameters are named after it
