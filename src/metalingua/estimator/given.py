"""Texts and labels as people give them: read into plain lists, or refused, saying what to change."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from metalingua.error import UserError


class EstimatorError(UserError, ValueError):
    """Texts, labels or settings that cannot be used: it names them, the rule, and the way out."""


def pairs(X: Iterable[str], y: Iterable[Any]) -> tuple[list[str], list[Any]]:
    """Texts and labels as lists of one length. Raises EstimatorError."""
    if isinstance(X, str | bytes):
        raise EstimatorError(f"texts is one text, {X[:40]!r}: give a list of texts, with a label for each")
    if y is None or isinstance(y, str | bytes):
        raise EstimatorError("fit takes a list of texts and a list with a label for each")
    texts, labels = [text_at(each, place) for place, each in enumerate(X)], _plain(y)
    if len(texts) != len(labels):
        raise EstimatorError(f"{len(texts)} texts and {len(labels)} labels: each text takes one label")
    if not texts:
        raise EstimatorError("no text is given: fit takes at least one for every class")
    for place, label in enumerate(labels):
        if label is None or (isinstance(label, float) and not math.isfinite(label)):
            raise EstimatorError(f"label {place} is {label!r}: leave its text out, or give it a label")
    return texts, labels


def _plain(y: Iterable[Any]) -> list[Any]:
    """Labels as Python's own objects. pandas' missing values are None."""
    plain = (each.item() if hasattr(each, "item") else each for each in y)
    return [None if type(each).__name__ in ("NAType", "NaTType") else each for each in plain]


def text_at(text: Any, place: int) -> str:
    """The `text` that is number `place` of those given. Raises EstimatorError."""
    if not isinstance(text, str):
        raise EstimatorError(f"text {place} is {text!r}: it must be a string (a column of texts, not a table)")
    if not text.strip():
        raise EstimatorError(f"text {place} is empty: leave it out")
    return str(text)


def one_type(labels: list[Any]) -> np.ndarray:
    """[items] of labels that can be told apart and put in order. Raises EstimatorError."""
    kinds = {type(each) for each in labels}
    if kinds == {int, float}:
        kinds, labels = {float}, [float(each) for each in labels]
    if len(kinds) > 1:
        raise EstimatorError(f"labels are of several types, {', '.join(sorted(k.__name__ for k in kinds))}: give one")
    if kinds - {str, int, bool, float}:
        raise EstimatorError(f"labels are {kinds.pop().__name__}s: they must be strings, whole numbers or true/false")
    if kinds == {float} and any(not each.is_integer() for each in labels):
        raise EstimatorError(
            "labels are numbers with a fraction, which are no classes: load(run, kind='regression') rates texts"
        )
    return np.array(labels)
