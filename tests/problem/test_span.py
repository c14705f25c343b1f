import math

import numpy as np
import pytest
import torch
from torch.func import vmap

from metalingua.problem.problem import Asked
from metalingua.problem.span import Span, Window, f1, judge, misplaced, normal, tokens, unspaced
from metalingua.text.batch import Inputs

CONTEXT = "The quick brown fox jumps."
BEGINS, ENDS = np.array([0, 4, 10, 16, 20, 25]), np.array([3, 9, 15, 19, 25, 26])
SPAN = Span(longest=3, abstains=True)


@pytest.mark.parametrize(
    ("said", "answers", "exact", "overlap"),
    [
        ("Denver Broncos", ["Denver Broncos", "The Denver Broncos"], 1, 1),
        ("the denver  BRONCOS!", ["Denver Broncos"], 1, 1),  # case, articles, punctuation, space
        ("Broncos", ["Denver Broncos"], 0, 2 / 3),
        ("Denver Broncos of Denver", ["Denver Broncos"], 0, 2 * 2 / 6),  # a word counts as often as it occurs in both
        ("in 1999", ["1999", "in the year 1999"], 0, 4 / 5),  # the best of several: 2/3 and 4/5
        ("Carolina", ["Denver"], 0, 0),
        ("", [], 1, 1),  # no answer, and none said
        ("something", [], 0, 0),
        ("", ["something"], 0, 0),
        ("the", [], 1, 1),  # nothing but an article is nothing
        ("a", ["the"], 1, 1),
        ("!", ["?", "word"], 0, 0),  # right answers that are nothing do not count beside others
        ("don't", ["dont"], 1, 1),  # punctuation goes without a space
        ("U.S.", ["US"], 1, 1),
        ("ananas the an", ["ananas"], 1, 1),  # articles are whole words
        ("«Paris»", ["Paris"], 0, 0),  # ASCII punctuation alone, as in the official script
        ("$5", ["5"], 1, 1),
    ],
)
def test_exact_match_and_f1_are_the_official_ones(said, answers, exact, overlap):
    assert judge(said, answers, letters=False) == (exact, pytest.approx(overlap))


def official(said, answers):
    """As the functions of the official evaluation script of SQuAD 2.0 work, written from its definition."""
    import collections
    import re
    import string

    def normalised(text):
        text = "".join(sign for sign in text.lower() if sign not in set(string.punctuation))
        return " ".join(re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", text).split())

    def overlap(gold):
        right, mine = normalised(gold).split(), normalised(said).split()
        same = sum((collections.Counter(right) & collections.Counter(mine)).values())
        if not right or not mine:
            return float(right == mine)
        if not same:
            return 0.0
        precision, recall = same / len(mine), same / len(right)
        return 2 * precision * recall / (precision + recall)

    right = [answer for answer in answers if normalised(answer)] or [""]
    return max(float(normalised(gold) == normalised(said)) for gold in right), max(overlap(gold) for gold in right)


def test_they_are_the_official_ones_on_texts_drawn_at_random():
    dice = np.random.default_rng(0)
    words = [
        "the",
        "a",
        "An",
        "fox",
        "Fox.",
        "fox's",
        "-",
        "the,",
        "the-fox",
        "1,000",
        "é",
        "...",
        "in",
        "dog",
        "\t",
        "a.b",
        "北京",
        "เรือ",
    ]

    def text():
        return " ".join(dice.choice(words, dice.integers(0, 5)))

    for _ in range(3000):
        said, answers = text(), [text() for _ in range(dice.integers(0, 3))]
        assert judge(said, answers, letters=False) == pytest.approx(official(said, answers)), (said, answers)


def test_they_are_those_of_torchmetrics():
    from torchmetrics.functional.text import squad

    said = ["Denver Broncos", "the fox of foxes", "nothing", "in 1999", ""]
    right = [["the Denver Broncos!"], ["a fox", "of foxes"], ["something"], ["in the year 1999", "1999"], [""]]
    theirs = squad(
        [{"prediction_text": text, "id": str(i)} for i, text in enumerate(said)],
        [{"answers": {"answer_start": [0] * len(each), "text": each}, "id": str(i)} for i, each in enumerate(right)],
    )
    mine = np.mean([judge(*each, letters=False) for each in zip(said, right, strict=True)], axis=0) * 100
    assert [float(theirs["exact_match"]), float(theirs["f1"])] == pytest.approx(mine)


def test_where_a_script_has_no_spaces_letters_are_words():
    assert tokens("第50届超级碗 in 2016", letters=True) == ["第", "50", "届", "超", "级", "碗", "in", "2016"]
    assert f1("超级碗", "超级", letters=True) == pytest.approx(0.8)
    assert f1("เรือ", "เรือง", letters=True) == pytest.approx(8 / 9)
    assert normal("第50届。") == "第50届。"
    assert judge("北京 city", ["北京"], letters=True) == (0, pytest.approx(4 / 5))
    assert judge("北京 city", ["北京"], letters=False) == (0, pytest.approx(2 / 3))  # official: it knows English


@pytest.mark.parametrize(
    ("context", "letters"),
    [
        ("Beijing (北京) is the capital.", False),
        ("卡罗莱纳黑豹队 won the 50th.", False),
        ("卡罗莱纳黑豹队的防守只丢了 308 分 (NFL)。", True),
        ("เรือ", True),
        ("", False),
    ],
)
def test_how_an_answer_is_judged_is_a_matter_of_its_context(context, letters):
    assert unspaced(context) is letters
    spot = Window(0, f"北京 city {context}", np.array([0, 3]), np.array([2, 7]), ("北京",))
    outputs = torch.tensor([[-9.0, -9.0], [9.0, 0.0], [0.0, 9.0]])
    targets = torch.tensor([[0, 0, 0], [0, 1, 0], [0, 0, 1]])
    found = SPAN.statistics(outputs, targets, asked(spot))
    assert found["answer_f1"] == pytest.approx(0.8 if unspaced(spot.context) else 2 / 3)


def test_an_answer_must_stand_in_its_context_where_it_should():
    assert misplaced(CONTEXT, ["quick", "fox"], [4, 16]) == ""
    assert misplaced(CONTEXT, [], []) == ""
    assert "'fox' does not begin with character 15" in misplaced(CONTEXT, ["quick", "fox"], [4, 15])
    assert "from 16 on" in misplaced(CONTEXT, ["fox"], [-10])
    assert "nowhere" in misplaced(CONTEXT, ["dog"], [16])


def window(question=0, answers=("brown fox",), first=0, last=6):
    return Window(question, CONTEXT, BEGINS[first:last], ENDS[first:last], answers)


def asked(*windows):
    return Asked(Inputs(torch.zeros(1, 1), torch.ones(1), ("",)), windows)


def scores(items, **best):
    """[items, 2], 0 but for begin_I and end_I."""
    found = torch.zeros(items, 2)
    for name, value in best.items():
        part, item = name.split("_")
        found[int(item), int(part == "end")] = value
    return found


def test_the_best_span_is_given_as_it_stands_in_the_context():
    outputs = scores(7, begin_3=5.0, end_4=5.0)
    assert SPAN.answers(outputs, asked(window())) == {0: "brown fox"}
    late = scores(7, begin_5=5.0, end_2=6.0)  # an end before its begin is none
    assert SPAN.answers(late, asked(window())) == {0: "The quick"}
    long = scores(7, begin_1=5.0, end_5=5.5)  # of more tokens than `longest`
    assert SPAN.answers(long, asked(window())) == {0: "brown fox jumps"}
    assert Span(5, True).answers(long, asked(window())) == {0: "The quick brown fox jumps"}


def test_no_answer_where_it_is_likelier_unless_there_must_be_one():
    outputs = scores(7, begin_0=5.0, end_0=5.0, begin_3=4.0, end_4=4.0)
    assert SPAN.answers(outputs, asked(window())) == {0: ""}
    assert Span(3, False).answers(outputs, asked(window())) == {0: "brown fox"}
    level = torch.zeros(7, 2)  # what the majority learner says
    assert SPAN.answers(level, asked(window())) == {0: ""}
    assert Span(3, False).answers(level, asked(window())) == {0: "The"}


def test_the_best_window_is_the_one_with_the_best_odds_over_no_answer():
    one = scores(4, begin_0=9.0, end_0=9.0, begin_1=10.0, end_1=10.0)  # odds of 2: "The"
    other = scores(4, begin_1=2.0, end_1=2.0)  # odds of 4, though its numbers are lower: "fox"
    windows = asked(window(first=0, last=3), window(first=3, last=6))
    assert SPAN.answers(torch.cat([one, other]), windows) == {0: "fox"}


def labels(*windows):
    """A window's size, begin and end each."""
    rows = []
    for number, (items, begin, end) in enumerate(windows):
        for item in range(items):
            rows.append([7 + number, item == begin, item == end])
    return np.array(rows, dtype=np.int64)


def test_the_loss_is_the_cross_entropy_of_begin_and_end_in_each_window():
    targets = SPAN.targets(labels((3, 0, 0), (4, 1, 3)))
    outputs = torch.randn(7, 2, generator=torch.Generator().manual_seed(0))
    terms = [
        -part.log_softmax(0)[right]
        for rows, rights in ((outputs[:3], (0, 0)), (outputs[3:], (1, 3)))
        for part, right in zip(rows.T, rights, strict=True)
    ]
    assert float(SPAN.loss(outputs, targets)) == pytest.approx(float(torch.stack(terms).mean()))
    assert float(SPAN.loss(outputs * 1000, targets)) < math.inf
    moved = outputs + torch.tensor([[3.0, -2.0]] * 3 + [[100.0, 40.0]] * 4)  # a window's numbers have no zero
    assert float(SPAN.loss(moved, targets)) == pytest.approx(float(SPAN.loss(outputs, targets)), abs=1e-5)


def test_the_loss_has_its_derivatives_and_runs_under_vmap():
    targets = SPAN.targets(labels((3, 0, 0), (4, 1, 3), (2, 0, 1)))
    outputs = torch.randn(9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: SPAN.loss(x, targets), outputs)
    assert torch.autograd.gradgradcheck(lambda x: SPAN.loss(x, targets), outputs)
    other = SPAN.targets(labels((5, 4, 4), (4, 0, 0)))
    both = torch.stack([outputs, outputs * 2]), torch.stack([targets, other])
    apart = torch.stack([SPAN.loss(*each) for each in zip(*both, strict=True)])
    torch.testing.assert_close(vmap(SPAN.loss)(*both), apart)
    slope = torch.func.grad(lambda x: SPAN.loss(x, targets))(outputs.detach())
    torch.testing.assert_close(slope, torch.autograd.grad(SPAN.loss(outputs, targets), outputs)[0])


def test_a_window_has_one_begin_and_one_end():
    for wrong in ([[0, 1, 0], [0, 0, 0]], [[0, 1, 1], [0, 1, 0]], [[0, 1, 1], [1, 0, 0]]):
        with pytest.raises(ValueError, match="one begin and one end"):
            SPAN.targets(np.array(wrong))
    assert SPAN.codes(SPAN.targets(labels((3, 1, 2)))).tolist() == [[0, 0], [1, 0], [0, 1]]


def test_statistics_are_means_over_questions_not_over_windows():
    gold = window(0), window(0), window(1, ())
    outputs = torch.cat([scores(7, begin_3=5.0, end_4=5.0), scores(7), scores(7, begin_0=1.0)])
    targets = SPAN.targets(labels((7, 3, 4), (7, 0, 0), (7, 0, 0)))
    found = SPAN.statistics(outputs, targets, asked(*gold))
    assert (found["answer_f1"], found["exact_match"], found["score"]) == (1, 1, 1)
    wrong = torch.cat([scores(7, begin_4=5.0, end_4=5.0), scores(7), scores(7, begin_2=1.0)])
    found = SPAN.statistics(wrong, targets, asked(*gold))
    assert (found["answer_f1"], found["exact_match"]) == (pytest.approx((2 / 3 + 0) / 2), 0)
    assert found["loss"] == pytest.approx(float(SPAN.loss(wrong, targets)))
