"""Words of the texts of inputs whose items are words, for learners that read texts and no tokens."""

from collections.abc import Iterator

import numpy as np

from metalingua.text.batch import Inputs

NO_TAGS = "it tags words, and no words are tagged here"


def sentences(inputs: Inputs) -> Iterator[tuple[list[str], slice]]:
    """Words of each text that has some, and which of the items they are: a text is its words with blanks between, its
    items are these words in their order."""
    assert inputs.at is not None  # a problem that tags words has items that are words
    counts = np.bincount(inputs.at[:, 0].cpu().numpy(), minlength=len(inputs.texts))
    ends = counts.cumsum()
    for text, count, end in zip(inputs.texts, counts, ends, strict=True):
        if not text and not count:
            continue  # nothing of it was read
        words = text.split(" ")
        if len(words) != count:
            raise ValueError(f"{text[:40]!r} has {len(words)} words between blanks, and {count} items")
        yield words, slice(end - count, end)
