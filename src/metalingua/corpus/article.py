"""The article's plain text file: one text a line, positive where the word `positive` stands, otherwise negative.

Two faults are mended: "not positive" is negative, and the label words are cut out, since a text that contains its
label teaches nothing else. docs/article.md names them.
"""

import re

_NEGATION = r"(?:\b(?:not|never|no|\w+n['’]t)\s+(?:(?:a|an|at\s+all|really|so|very)\s+)?|\bnon[\s-])"
_MENTION = re.compile(rf"(?P<negated>{_NEGATION})?\b(?P<word>positive|negative)\b", re.IGNORECASE)
_SEPARATORS = r"[\s,;:|/\\=()\[\]<>\"“”_–—-]*"
_CUT = re.compile(_SEPARATORS + _MENTION.pattern + _SEPARATORS, re.IGNORECASE)
_SPACE_BEFORE_STOP = re.compile(r"\s+(?=[.!?])")


def article_row(line: str) -> tuple[dict[str, str], str]:
    """`text` (label words cut out) and `label` of one line, and what is wrong with it, or ""."""
    said = {(found["word"].lower() == "positive") is not bool(found["negated"]) for found in _MENTION.finditer(line)}
    if len(said) > 1:
        return {}, f"says both positive and negative: {line.strip()[:60]!r}; leave one of them"
    text = _SPACE_BEFORE_STOP.sub("", _CUT.sub(" ", line)).strip()
    if not any(character.isalnum() for character in text):
        return {}, f"nothing is left of {line.strip()[:60]!r} without its label word; write the text on the same line"
    return {"text": text, "label": "positive" if True in said else "negative"}, ""
