"""Limits of an argument, written where the argument is: `steps: Annotated[int, AtLeast(0)]`.

The constructor enforces them (`limited`), and `check` reads the same words from the source before anything is imported.
"""

import functools
import inspect
import numbers
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

P = ParamSpec("P")
R = TypeVar("R")


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)  # Python's bool is an int; a config's is not


class Limit:
    """One rule: `allows(value)` applies it, `str(limit)` ends the sentence "it must be ..."."""

    def allows(self, value: Any) -> bool:
        raise NotImplementedError


@dataclass(frozen=True)
class _Bound(Limit):
    bound: float
    words: ClassVar[str]

    def __str__(self) -> str:
        return f"{self.words} {self.bound}"


class AtLeast(_Bound):
    words = "at least"

    def allows(self, value: Any) -> bool:
        return _is_number(value) and value >= self.bound


class Above(_Bound):
    words = "above"

    def allows(self, value: Any) -> bool:
        return _is_number(value) and value > self.bound


class AtMost(_Bound):
    words = "at most"

    def allows(self, value: Any) -> bool:
        return _is_number(value) and value <= self.bound


class Below(_Bound):
    words = "below"

    def allows(self, value: Any) -> bool:
        return _is_number(value) and value < self.bound


class OneOf(Limit):
    def __init__(self, *values: object):
        self.values = values

    def allows(self, value: Any) -> bool:
        return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in self.values)

    def __str__(self) -> str:
        return f"one of {', '.join(map(shown, self.values))}"


# Softly: what a yaml can confuse. Every other type is left to the constructor.
_KINDS: list[tuple[object, Callable[[Any], bool], str]] = [
    (bool, lambda value: isinstance(value, bool), "true or false"),
    (int, lambda value: _is_number(value) and isinstance(value, numbers.Integral), "a whole number"),
    (float, _is_number, "a number"),
    (str, lambda value: isinstance(value, str), "text"),
    (None, lambda value: value is None, "null"),
    (type(None), lambda value: value is None, "null"),
]


def allows(annotation: object, value: object) -> bool:
    """Whether `value` keeps to `annotation`; an annotation that says nothing about limits allows everything."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = [limit for limit in inner[1:] if isinstance(limit, Limit)]
        return allows(inner[0], value) and (value is None or all(limit.allows(value) for limit in limits))
    if origin in (Union, types.UnionType):
        return any(allows(one, value) for one in inner)
    if origin is Literal:
        return OneOf(*inner).allows(value)
    return all(holds(value) for kind, holds, _ in _KINDS if annotation is kind)


def rule(annotation: object) -> str:
    """`annotation` in words: "a whole number, at least 0, or null"."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = [limit for limit in inner[1:] if isinstance(limit, Limit)]
        kind = "" if any(isinstance(limit, OneOf) for limit in limits) else rule(inner[0])
        return ", ".join(filter(None, [kind, *map(str, limits)]))
    if origin in (Union, types.UnionType):
        return ", or ".join(map(rule, inner))
    if origin is Literal:
        return str(OneOf(*inner))
    return "".join(words for kind, _, words in _KINDS if annotation is kind)


def shown(value: object) -> str:
    """A value as a yaml file spells it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return value if value.strip() else repr(value)
    return str(value)


def complaint(key: str, value: object, annotation: object) -> str | None:
    """The sentence about a `value` outside its limits: key, value, rule, which is the way out too; else None."""
    return None if allows(annotation, value) else f"{key} is {shown(value)}: it must be {rule(annotation)}"


def evaluated(text: str, names: Mapping[str, object]) -> object:
    """An annotation's object from its source text; `Any` if it needs names that are not in `names`."""
    try:
        found = eval(text, dict(names))
        return evaluated(found, names) if isinstance(found, str) else found  # a quoted annotation
    except Exception:  # unknown names, subscripts of the unsubscriptable: an annotation nobody here can judge
        return Any


def limited(room: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates an `__init__` so that each call keeps to its annotations.

    room    the config group whose keys the arguments are: "learner" makes the error say `learner.steps`
    A whole number is made a float where the annotation is one.
    raises  ValueError naming every argument at fault: key, value, rule. Defaults are trusted.
    """

    def decorate(init: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(init)
        names = getattr(init, "__globals__", {})

        @functools.cache  # at the first call: a module's later names may stand in quoted annotations
        def annotations() -> dict[str, object]:
            return {
                one.name: evaluated(one.annotation, names) if isinstance(one.annotation, str) else one.annotation
                for one in signature.parameters.values()
                if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
            }

        @functools.wraps(init)
        def enforced(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind(*args, **kwargs)
            given = bound.arguments
            pairs = [(name, given[name], kind) for name, kind in annotations().items() if name in given]
            problems = [text for name, value, kind in pairs if (text := complaint(f"{room}.{name}", value, kind))]
            if problems:
                raise ValueError("\n".join(problems))
            for name, value, kind in pairs:
                if isinstance(value, int) and (get_args(kind) or (kind,))[0] is float:
                    given[name] = float(value)  # a yaml's 1 is a 1.0 here: a tensor of it must be one of numbers
            return init(*bound.args, **bound.kwargs)

        return enforced

    return decorate
