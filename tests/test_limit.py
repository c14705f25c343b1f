from typing import Annotated, Any, Literal, Optional

import pytest

from metalingua.limit import Above, AtLeast, AtMost, Below, OneOf, allows, complaint, evaluated, limited, rule

INNER = [  # annotation, what keeps to it, what does not
    (int, [0, -3], [True, 1.5, "3", None]),
    (float, [0, 0.5, float("inf")], [False, "abc", "1e-3", None, [1.0]]),
    (bool, [True, False], [0, 1, "true"]),
    (str, ["", "abc"], [1, None, ["a"]]),
    (Annotated[int, AtLeast(0)], [0, 7], [-1, True, 0.5, "0"]),
    (Annotated[float, Above(0)], [1, 1e-9], [0, -1, 0.0, float("nan"), "abc"]),
    (Annotated[float, AtLeast(0), Below(1)], [0, 0.999], [1, -0.1]),
    (Annotated[int, AtMost(3)], [3, -9], [4]),
    (Annotated[str, OneOf("mean", "last")], ["mean"], ["meen", 1, None]),
    (Annotated[int, OneOf(1, 2)], [1, 2], [0, True, "1"]),
    (Literal["a", 1], ["a", 1], ["b", True]),
    (Annotated[int, AtLeast(1)] | None, [None, 1], [0, "x"]),
    (Optional[Annotated[int, AtLeast(1)]], [None, 1], [0, "x"]),  # noqa: UP045
    (Annotated[int | None, AtLeast(1)], [None, 1], [0]),
    (int | str, [1, "a"], [1.5, True]),
    (list[int], ["left to the constructor"], []),
    (Any, [object()], []),
]


@pytest.mark.parametrize(("annotation", "good", "bad"), INNER)
def test_a_value_keeps_to_its_annotation_or_not(annotation, good, bad):
    assert [value for value in good if not allows(annotation, value)] == []
    assert [value for value in bad if allows(annotation, value)] == []


def test_the_rule_in_words():
    assert rule(Annotated[int, AtLeast(0)]) == "a whole number, at least 0"
    assert rule(Annotated[float, Above(0), Below(1)] | None) == "a number, above 0, below 1, or null"
    assert rule(Annotated[str, OneOf("mean", "last")]) == "one of mean, last"


def test_a_complaint_names_key_value_and_rule():
    assert complaint("learner.steps", -1, Annotated[int, AtLeast(0)]) == (
        "learner.steps is -1: it must be a whole number, at least 0"
    )
    assert complaint("learner.steps", None, int) == "learner.steps is null: it must be a whole number"
    assert complaint("learner.steps", True, int) == "learner.steps is true: it must be a whole number"
    assert complaint("learner.steps", "", int) == "learner.steps is '': it must be a whole number"
    assert complaint("learner.steps", 1, Annotated[int, AtLeast(0)]) is None


def test_a_quoted_annotation_is_read_and_an_unknown_one_is_left_alone():
    names = {"Annotated": Annotated, "AtLeast": AtLeast, "int": int}
    assert evaluated("Annotated[int, AtLeast(2)]", names) == Annotated[int, AtLeast(2)]
    assert evaluated("'int'", names) is int
    assert evaluated("Tensor | None", names) is Any
    assert evaluated("", names) is Any


class Learner:
    @limited("learner")
    def __init__(
        self, steps: Annotated[int, AtLeast(0)], rate: "Annotated[float, Above(0)]" = 0.1, *more: int, **rest: int
    ):
        self.got = (steps, rate, more, rest)


def test_a_constructor_keeps_its_limits():
    assert Learner(0).got == (0, 0.1, (), {})
    assert Learner(3, 1, 5, x=6).got == (3, 1, (5,), {"x": 6})
    with pytest.raises(ValueError, match=r"^learner\.steps is -1: it must be a whole number, at least 0$"):
        Learner(-1)
    with pytest.raises(ValueError, match=r"^learner\.rate is 0: it must be a number, above 0$"):
        Learner(1, rate=0)


def test_every_fault_of_a_call_is_named():
    with pytest.raises(ValueError, match=r"(?s)learner\.steps is 1\.5.*learner\.rate is abc"):
        Learner(1.5, "abc")


def test_a_wrong_call_is_still_a_type_error_and_the_signature_stays():
    with pytest.raises(TypeError, match="steps"):
        Learner()
    assert Learner.__init__.__name__ == "__init__"


class Late:
    @limited("late")
    def __init__(self, unknown: "OnlyForTypeCheckers" = 0, size: "Annotated[int, AtLeast(1)]" = 1):  # noqa: F821
        self.size = size


def test_an_annotation_out_of_reach_hinders_no_other():
    assert Late(unknown="anything").size == 1
    with pytest.raises(ValueError, match=r"late\.size is 0"):
        Late(size=0)


def test_a_whole_number_where_a_float_is_asked_for_becomes_one():
    class Takes:
        @limited("room")
        def __init__(self, whole: int, part: Annotated[float, Above(0)], other: float = 2, maybe: float | None = None):
            self.given = whole, part, other, maybe

    given = Takes(1, 1, maybe=3).given
    assert given == (1, 1.0, 2, 3.0) and [type(each) for each in given] == [int, float, int, float]
    assert type(Takes(1, part=2, other=3).given[2]) is float
