"""The column files of the CoNLL shared tasks (Tjong Kim Sang 2002): a word a line, a blank line between sentences."""

from collections.abc import Iterator
from typing import Any

DOCUMENT = "-DOCSTART-"  # a line between two documents


def conll_rows(text: str) -> Iterator[tuple[int, dict[str, Any], str]]:
    """(line of its first word, {"tokens": [...], "tags": [...]}, fault) of every sentence of a file.

    A line's cells stand between tabs or blanks: the word is the first, its tag the last. A line of one cell is a fault.
    """
    first, words, tags, fault = 0, list[str](), list[str](), ""
    for number, line in enumerate([*text.split("\n"), ""], 1):
        cells = line.rstrip("\r").split("\t") if "\t" in line else line.split()
        blank = not line.strip()
        if blank or cells[0] == DOCUMENT:
            if words or fault:
                yield first, {"tokens": words, "tags": tags}, fault
            words, tags, fault = [], [], ""
            continue
        first = first if words or fault else number
        if len(cells) < 2:
            fault = (
                fault
                or f"line {number} is {line.strip()!r}; a line has a word and its tag, with a tab or blank between"
            )
            continue
        words.append(cells[0])
        tags.append(cells[-1].strip())
